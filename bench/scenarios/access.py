"""What access control costs: one daemon without rules and one with them, asked with a token and with a password."""

import base64
import json
import time
import urllib.parse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import bcrypt

from ..errors import BenchError
from ..figures import Aim, Figure
from ..images import MANIFEST, Client, Tagged, digest_of, image, push_all
from ..lab import Lab
from ..load import run
from ..registries import IPFSREG, Registry, Running, running
from ..scale import CONNECTIONS

TURN_SECONDS = 0.5
"""How long one way is asked before it is the next one's turn: what else the machine does meanwhile changes faster than
a whole round takes."""

_REPOSITORY = "bench/access"
_USER, _PASSWORD = "bench", "correct horse battery staple"

# More than one rule, so that they are looked through; a token that lasts for the run.
_RULES = """
[auth]
htpasswd = {directory}/htpasswd
token_lifetime = 1h

[access]
rules =
    group  devs = alice, bob, bench
    deny   bob     push,delete  team/secret
    allow  anyone  pull         public/*
    allow  @devs   pull,push    team/**, bench/*
"""


@dataclass(frozen=True)
class _Way:
    """How a daemon is asked; ``aim`` is the most that it may cost, in percent."""

    name: str
    daemon: Running
    authorization: str | None = None
    aim: float | None = None


def measure(lab: Lab) -> list[Figure]:
    """Manifests and small blobs by GET, and pushes of small images. Costs are those of the daemon's processor time.

    The password was right a moment ago, so bcrypt is not in it.
    """
    if IPFSREG not in lab.registries:
        return []
    seconds = min(TURN_SECONDS, lab.scale.load_seconds)
    turns = round(lab.scale.load_rounds * lab.scale.load_seconds / seconds)
    images = [_tagged(f"t{number}") for number in range(lab.scale.images)]
    manifests = [each.path for each in images]
    blobs = [f"/v2/{_REPOSITORY}/blobs/{digest_of(blob)}" for each in images for blob in each.image.blobs]
    with ExitStack() as stack:
        ways = _started(lab, stack)
        for way in ways[:2]:  # one for each daemon
            push_all(way.daemon.port, images, way.authorization)
        pushed = iter(range(1_000_000))

        def asking(paths: list[str]) -> Callable[[_Way], tuple[int, float]]:
            def ask(way: _Way) -> tuple[int, float]:
                seen = run(way.daemon.port, "GET", paths, MANIFEST, CONNECTIONS, seconds, way.authorization)
                return seen.answers, seen.per_second

            return ask

        def push(way: _Way) -> tuple[int, float]:
            new = [_tagged(f"new-{next(pushed)}") for _ in range(lab.scale.images)]
            started = time.perf_counter()
            push_all(way.daemon.port, new, way.authorization)
            return len(new), len(new) / (time.perf_counter() - started)

        figures = []
        for what, unit, work, rounds in (
            ("manifest GET by tag", "req/s", asking(manifests), turns),
            ("small blob GET", "req/s", asking(blobs), turns),
            ("push of a small image", "images/s", push, lab.scale.load_rounds),
        ):
            figures += _compared(lab, ways, what, unit, work, rounds)
        return figures


def _compared(
    lab: Lab, ways: list[_Way], what: str, unit: str, work: Callable[[_Way], tuple[int, float]], rounds: int
) -> list[Figure]:
    """The rates of each way, and what the others cost beside the first."""
    without = ways[0]
    rates = {way.name: Figure(f"{what}, {way.name}", unit, higher_is_better=True) for way in ways}
    costs = {
        way.name: Figure(f"{what}, {way.name}: cost", "%", higher_is_better=False, aim=Aim(value=way.aim))
        for way in ways[1:]
    }
    for way in ways:
        work(way)  # uncounted
    lab.settle()
    for _ in range(rounds):
        used = {}
        for way in ways:
            before = way.daemon.cpu_seconds()
            done, rate = work(way)
            used[way.name] = (way.daemon.cpu_seconds() - before) / done
            rates[way.name].add(IPFSREG.name, rate)
            lab.say(f"{what}, {way.name}: {rate:.0f} {unit}, {1e6 * used[way.name]:.0f} µs of the daemon's CPU each")
        for name, cost in costs.items():
            cost.add(IPFSREG.name, 100 * (used[name] / used[without.name] - 1))
    return [*rates.values(), *costs.values()]


def _started(lab: Lab, stack: ExitStack) -> list[_Way]:
    open_daemon, guarded = (
        stack.enter_context(running(registry, stack.enter_context(lab.home())))
        for registry in (IPFSREG, _with_rules(IPFSREG))
    )
    basic = "Basic " + base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode()
    return [
        _Way("without rules", open_daemon),
        _Way("with a token", guarded, f"Bearer {_token(guarded, basic)}", 10.0),
        _Way("with a password", guarded, basic, 15.0),
    ]


def _with_rules(registry: Registry) -> Registry:
    def prepare(port: int, directory: Path) -> list[str]:
        command = registry.prepare(port, directory)
        hashed = bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt()).decode()
        (directory / "htpasswd").write_text(f"{_USER}:{hashed}\n", encoding="utf-8")
        with (directory / "ipfsreg.ini").open("a", encoding="utf-8") as config:
            config.write(_RULES.format(directory=directory))
        return command

    return replace(registry, prepare=prepare)


def _token(daemon: Running, basic: str) -> str:
    client = Client(daemon.port, basic)
    try:
        scope = urllib.parse.quote(f"repository:{_REPOSITORY}:pull,push")
        status, _, answer = client.ask("GET", f"/auth/token?scope={scope}")
        if status != 200:
            raise BenchError(f"no token: {status}: {answer[:500]!r}")
        token: str = json.loads(answer)["token"]
        return token
    finally:
        client.close()


def _tagged(tag: str) -> Tagged:
    return Tagged(_REPOSITORY, tag, image(f"access {tag}"))
