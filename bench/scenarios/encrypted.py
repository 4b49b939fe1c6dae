"""What encryption costs: one daemon with a plain bucket of this disk and one with an encrypted one, in turn."""

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import BenchError
from ..figures import Aim, Figure
from ..images import MANIFEST, Tagged, image, push_all
from ..lab import Lab
from ..load import run
from ..payload import Layer
from ..registries import IPFSREG, Registry, Running, running
from ..scale import CONNECTIONS
from ..transfer import download, upload, verify

_REPOSITORY = "bench/encrypted"
_MB = 1e6
_AIM = 0.6
"""How much of the plain bucket's rate the encrypted one should have at least, for each second of processor time."""

_ROUNDS = 3

_CONFIG = """
[encryption]
enabled = yes
key = {directory}/member.key
"""


@dataclass(frozen=True)
class _Way:
    name: str
    daemon: Running


def measure(lab: Lab) -> list[Figure]:
    """A large layer in and out, and small images in and their manifests out.

    The ratio is that of the daemon's processor time for the same work: on a machine with several cores encryption goes
    on beside other things, so that the rates alone would hide it.
    """
    if IPFSREG not in lab.registries:
        return []
    with ExitStack() as stack:
        ways = [
            _Way(name, stack.enter_context(running(registry, stack.enter_context(lab.home()))))
            for name, registry in (("plain", IPFSREG), ("encrypted", _encrypted(IPFSREG)))
        ]
        return [*_layers(lab, ways), *_small_images(lab, ways)]


def _layers(lab: Lab, ways: list[_Way]) -> list[Figure]:
    size, rounds = lab.scale.layer, min(lab.scale.transfer_rounds, _ROUNDS)
    lab.need(size * (rounds + 2) * len(ways) + lab.payload.size)
    pushed: dict[str, list[Layer]] = {way.name: [] for way in ways}

    def push(way: _Way) -> tuple[float, float]:
        lab.settle(size)
        layer = lab.payload.layer(size)
        took = upload(way.daemon.port, _REPOSITORY, [layer], lab.payload.path).seconds
        pushed[way.name].append(layer)
        return size / _MB, took

    def pull(way: _Way) -> tuple[float, float]:
        return size / _MB, download(way.daemon.port, _REPOSITORY, [pushed[way.name][-1]]).seconds

    figures = _compared(lab, ways, f"{lab.scale.size(size)} layer in", "MB/s", push, rounds)
    figures += _compared(lab, ways, f"{lab.scale.size(size)} layer out", "MB/s", pull, rounds)
    for way in ways:
        verify(way.daemon.port, _REPOSITORY, pushed[way.name][-1])
    return figures


def _small_images(lab: Lab, ways: list[_Way]) -> list[Figure]:
    rounds = min(lab.scale.load_rounds, _ROUNDS)
    count = lab.scale.listed // 10 // rounds
    pushed: dict[str, list[Tagged]] = {way.name: [] for way in ways}

    def push(way: _Way) -> tuple[float, float]:
        begin = len(pushed[way.name])
        new = [_tagged(f"{way.name}-{begin + number}") for number in range(count)]
        started = time.perf_counter()
        push_all(way.daemon.port, new)
        pushed[way.name] += new
        return count, time.perf_counter() - started

    def pull(way: _Way) -> tuple[float, float]:
        paths = [each.path for each in pushed[way.name]]
        seen = run(way.daemon.port, "GET", paths, MANIFEST, CONNECTIONS, lab.scale.load_seconds)
        return seen.answers, seen.answers / seen.per_second

    figures = _compared(lab, ways, "push of a small image", "images/s", push, rounds)
    return figures + _compared(lab, ways, "manifest GET by tag", "req/s", pull, rounds)


def _compared(
    lab: Lab, ways: list[_Way], what: str, unit: str, work: Callable[[_Way], tuple[float, float]], rounds: int
) -> list[Figure]:
    """The rate of each way, and the share of the plain one's work that the encrypted one does in the same CPU time.

    ``work`` answers how much was done, and the seconds that it took.
    """
    rates = {way.name: Figure(f"{what}, {way.name}", unit, higher_is_better=True) for way in ways}
    share = Figure(f"{what}: encrypted of plain, by CPU", "", higher_is_better=True, aim=Aim(value=_AIM))
    for _ in range(rounds):
        used = {}
        for way in ways:
            before = way.daemon.cpu_seconds()
            done, seconds = work(way)
            used[way.name] = (way.daemon.cpu_seconds() - before) / done
            rates[way.name].add(IPFSREG.name, done / seconds)
            lab.say(f"{what}, {way.name}: {done / seconds:.0f} {unit}, its CPU {used[way.name] * 1e3:.3f} ms each")
        if used["encrypted"] > 0:  # the kernel counts in hundredths of a second
            share.add(IPFSREG.name, used["plain"] / used["encrypted"])
    return [*rates.values(), share]


def _encrypted(registry: Registry) -> Registry:
    def prepare(port: int, directory: Path) -> list[str]:
        command = registry.prepare(port, directory)
        made = subprocess.run(
            [str(Path(command[0]).with_name("ipfsreg")), "keys", "init", str(directory / "member.key")],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if made.returncode:
            raise BenchError(f"no member's key: {made.stderr.strip()}")
        with (directory / "ipfsreg.ini").open("a", encoding="utf-8") as config:
            config.write(_CONFIG.format(directory=directory))
        return command

    return replace(registry, prepare=prepare)


def _tagged(tag: str) -> Tagged:
    return Tagged(_REPOSITORY, tag, image(f"encrypted {tag}"))
