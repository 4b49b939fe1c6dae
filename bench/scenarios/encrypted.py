"""What encryption costs: a daemon with a plain bucket and one with an encrypted one, given the same work in turn."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from tests.bucket.kubo.node import KuboNode, running_node
from tests.certificate_authority import CertificateAuthority

from ..errors import BenchError
from ..figures import Aim, Figure
from ..images import MANIFEST, Tagged, image, push_all
from ..kubo import daemon_for
from ..lab import Lab
from ..load import run
from ..payload import Layer
from ..registries import IPFSREG, Registry, Running, free_port, running
from ..scale import CONNECTIONS
from ..transfer import download, upload, verify

_IPFSREG = Path(sys.executable).with_name("ipfsreg")
_REPOSITORY = "bench/encrypted"
_MB = 1e6
_AIM = 0.6
"""How much of the plain bucket's rate the encrypted one should have at least."""

_ROUNDS = 3

_REST_WITHIN = 30.0
_REST_LOOK = 0.2
_REST_SHARE = 0.1
"""Of one core, in each look of so many seconds."""

_CONFIG = """
[encryption]
enabled = yes
key = {directory}/member.key
"""

_TLS = """
[tls]
certificate = {certificate}
key = {key}
"""


@dataclass(frozen=True)
class _Way:
    """A daemon. Its clients come over TLS where it has a ``tls_port``; it stores on ``node`` where there is one."""

    name: str
    daemon: Running
    tls_port: int | None = None
    node: KuboNode | None = None
    pushed: list[Layer] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """The CPU time of the daemon and its node so far."""
        seconds = self.daemon.cpu_seconds()
        if self.node is not None:
            times = psutil.Process(self.node.pid).cpu_times()
            seconds += times.user + times.system
        return seconds

    def rest(self) -> None:
        """Wait until they have ended what they do by themselves after a start or a push, half a minute at most."""
        until = time.monotonic() + _REST_WITHIN
        while time.monotonic() < until:
            before = self.cpu_seconds()
            time.sleep(_REST_LOOK)
            if self.cpu_seconds() - before < _REST_SHARE * _REST_LOOK:
                return

    @property
    def port(self) -> int:
        return self.tls_port or self.daemon.port


def measure(lab: Lab) -> list[Figure]:
    """A large layer in and out, and small images in and their manifests out.

    On this disk over plain HTTP, where a plain layer goes out by sendfile; the same with each daemon on one core; over
    TLS; and on a node of Kubo. Beside the rates stands the share by the processor time for the same work: on a machine
    with several cores encryption goes on beside other things, so that the rates alone would hide it.
    """
    if IPFSREG not in lab.registries:
        return []
    return [
        *_on_local(lab, "", IPFSREG, small=True),
        *_on_local(lab, " on one core", _on_one_core(IPFSREG), small=False),
        *_on_local(lab, " over TLS", IPFSREG, small=False, tls=True),
        *_on_kubo(lab),
    ]


def _on_local(lab: Lab, where: str, registry: Registry, *, small: bool, tls: bool = False) -> list[Figure]:
    with ExitStack() as stack:
        ways = []
        for name, each in (("plain", registry), ("encrypted", _encrypted(registry))):
            port = free_port() if tls else None
            daemon = stack.enter_context(
                running(each if port is None else _with_tls(each, port), stack.enter_context(lab.home()))
            )
            ways.append(_Way(name, daemon, port))
        return _figures(lab, where, ways, small=small)


def _on_kubo(lab: Lab) -> list[Figure]:
    with ExitStack() as stack:
        ways = []
        for name in ("plain", "encrypted"):
            home = stack.enter_context(lab.home())
            node = stack.enter_context(running_node(home, {"Datastore.StorageMax": "1TB"}))
            registry = daemon_for(node)
            daemon = stack.enter_context(running(registry if name == "plain" else _encrypted(registry), home))
            ways.append(_Way(name, daemon, node=node))
        return _figures(lab, " on Kubo", ways, small=True)


def _figures(lab: Lab, where: str, ways: list[_Way], *, small: bool) -> list[Figure]:
    return [*_layers(lab, where, ways), *(_small_images(lab, where, ways) if small else ())]


def _layers(lab: Lab, where: str, ways: list[_Way]) -> list[Figure]:
    size, rounds = lab.scale.layer, min(lab.scale.transfer_rounds, _ROUNDS)
    lab.need(size * (rounds + 2) * len(ways) + lab.payload.size)

    def push(way: _Way) -> tuple[float, float]:
        lab.settle(size)
        layer = lab.payload.layer(size)
        took = upload(way.port, _REPOSITORY, [layer], lab.payload.path, tls=bool(way.tls_port)).seconds
        way.pushed.append(layer)
        return size / _MB, took

    def pull(way: _Way) -> tuple[float, float]:
        return size / _MB, download(way.port, _REPOSITORY, [way.pushed[-1]], tls=bool(way.tls_port)).seconds

    figures = _compared(lab, ways, f"{lab.scale.size(size)} layer in{where}", "MB/s", push, rounds)
    figures += _compared(lab, ways, f"{lab.scale.size(size)} layer out{where}", "MB/s", pull, rounds)
    for way in ways:
        verify(way.daemon.port, _REPOSITORY, way.pushed[-1])
    return figures


def _small_images(lab: Lab, where: str, ways: list[_Way]) -> list[Figure]:
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

    figures = _compared(lab, ways, f"push of a small image{where}", "images/s", push, rounds)
    return figures + _compared(lab, ways, f"manifest GET by tag{where}", "req/s", pull, rounds)


def _compared(
    lab: Lab, ways: list[_Way], what: str, unit: str, work: Callable[[_Way], tuple[float, float]], rounds: int
) -> list[Figure]:
    """The rate of each way, and what share of the plain one's the encrypted one has: by the clock, and by CPU time.

    ``work`` answers how much was done, and the seconds that it took.
    """
    rates = {way.name: Figure(f"{what}, {way.name}", unit, higher_is_better=True) for way in ways}
    shares = [
        Figure(f"{what}: encrypted of plain, by {by}", "", higher_is_better=True, aim=Aim(value=_AIM))
        for by in ("time", "CPU")
    ]
    for _ in range(rounds):
        took, used = {}, {}
        for way in ways:
            way.rest()
            before = way.cpu_seconds()
            done, seconds = work(way)
            took[way.name], used[way.name] = seconds / done, (way.cpu_seconds() - before) / done
            rates[way.name].add(IPFSREG.name, done / seconds)
            lab.say(f"{what}, {way.name}: {done / seconds:.0f} {unit}, its CPU {used[way.name] * 1e3:.3f} ms each")
        for share, each in zip(shares, (took, used), strict=True):
            if each["encrypted"] > 0:  # the kernel counts a node's time in hundredths of a second
                share.add(IPFSREG.name, each["plain"] / each["encrypted"])
    return [*rates.values(), *shares]


def _encrypted(registry: Registry) -> Registry:
    def prepare(port: int, directory: Path) -> list[str]:
        command = registry.prepare(port, directory)
        made = subprocess.run(
            [str(_IPFSREG), "keys", "init", str(directory / "member.key")],
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


def _with_tls(registry: Registry, port: int) -> Registry:
    """The same, which also listens on a port with TLS."""

    def prepare(plain: int, directory: Path) -> list[str]:
        command = registry.prepare(plain, directory)
        certificate, key = CertificateAuthority().issue(directory, "server", "127.0.0.1")
        config = directory / "ipfsreg.ini"
        listen = f"listen = tcp:{plain}:interface=127.0.0.1"
        text = config.read_text(encoding="utf-8").replace(listen, f"{listen}, tls:{port}:interface=127.0.0.1")
        config.write_text(text + _TLS.format(certificate=certificate, key=key), encoding="utf-8")
        return command

    return replace(registry, prepare=prepare)


def _on_one_core(registry: Registry) -> Registry:
    def prepare(port: int, directory: Path) -> list[str]:
        taskset = shutil.which("taskset")
        if taskset is None:
            raise BenchError("taskset is not installed (Debian's util-linux)")
        return [taskset, "-c", "0", *registry.prepare(port, directory)]

    return replace(registry, prepare=prepare)


def _tagged(tag: str) -> Tagged:
    return Tagged(_REPOSITORY, tag, image(f"encrypted {tag}"))
