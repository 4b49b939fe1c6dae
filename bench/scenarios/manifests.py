"""Manifests: requests each second under load, and the latency of the first request and of later ones."""

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ..figures import Aim, Figure
from ..images import MANIFEST, Client, Image, image, in_parallel
from ..lab import Lab
from ..load import LoadError, run, run_wrk, wrk_available
from ..machine import drop_from_cache
from ..registries import Running, running
from ..scale import CONNECTIONS

_REPOSITORIES = 8


def _repository(number: int) -> str:
    return f"bench/images/{number % _REPOSITORIES}"


def measure(lab: Lab) -> list[Figure]:
    """HEAD and GET by tag, GET by digest: a set of images in turn, on keep-alive connections."""
    images = [image(f"image {number}") for number in range(lab.scale.images)]
    tags = [f"/v2/{_repository(number)}/manifests/t{number}" for number in range(len(images))]
    digests = [f"/v2/{_repository(number)}/manifests/{each.digest}" for number, each in enumerate(images)]
    aim = Aim(ratio=4.0)
    loads = [
        ("HEAD", tags, Figure("manifest HEAD by tag", "req/s", higher_is_better=True, aim=aim)),
        ("GET", tags, Figure("manifest GET by tag", "req/s", higher_is_better=True, aim=aim)),
        ("GET", digests, Figure("manifest GET by digest", "req/s", higher_is_better=True, aim=aim)),
    ]
    wrk = Figure("manifest GET by tag, one image, with wrk", "req/s", higher_is_better=True, aim=aim)
    slowest = Figure("manifest GET by tag under load, 99th percentile", "ms", higher_is_better=False)
    shares: list[float] = []

    with ExitStack() as stack:
        homes = {registry.name: stack.enter_context(lab.home()) for registry in lab.registries}
        with ExitStack() as first:
            daemons = [first.enter_context(running(each, homes[each.name])) for each in lab.registries]
            for daemon in daemons:
                lab.say(f"manifests: pushing {len(images)} images to {daemon.name}")
                in_parallel(daemon.port, _pusher(images), range(len(images)))
                for method, paths, _ in loads:
                    run(daemon.port, method, paths, MANIFEST, CONNECTIONS, lab.scale.load_seconds / 5)
            lab.settle()
            for _ in range(lab.scale.load_rounds):
                for method, paths, figure in loads:
                    for daemon in daemons:
                        seen = run(daemon.port, method, paths, MANIFEST, CONNECTIONS, lab.scale.load_seconds)
                        figure.add(daemon.name, seen.per_second)
                        shares.append(seen.generator_share)
                        if method == "GET" and paths is tags:
                            slowest.add(daemon.name, seen.latency_p99)
                        lab.say(
                            f"{figure.name}: {daemon.name}, {seen.per_second:.0f}/s, "
                            f"median {seen.latency_median:.2f} ms, "
                            f"generator at {seen.generator_share:.0%} of a core"
                        )
                if wrk_available():
                    for daemon in daemons:
                        wrk.add(
                            daemon.name,
                            run_wrk(daemon.port, tags[0], MANIFEST, CONNECTIONS, lab.scale.load_seconds),
                        )
        note = f"{CONNECTIONS} connections, bench/load.py, at most {max(shares):.0%} of one core"
        for _, _, figure in loads:
            figure.note = note
        latencies = _latencies(lab, homes, tags)
    return [*(figure for _, _, figure in loads), *([wrk] if wrk.samples else []), slowest, *latencies]


def _pusher(images: list[Image]) -> Callable[[Client, int], None]:
    def push(client: Client, number: int) -> None:
        client.push(_repository(number), f"t{number}", images[number])

    return push


def _latencies(lab: Lab, homes: dict[str, Path], tags: list[str]) -> list[Figure]:
    figures = []
    for method in ("HEAD", "GET"):
        cold = Figure(f"manifest {method}, first after a start, not in page cache", "ms", higher_is_better=False)
        warm = Figure(f"manifest {method}, again", "ms", higher_is_better=False)
        for _ in range(lab.scale.load_rounds):
            for registry in lab.registries:
                drop_from_cache(homes[registry.name])
                with running(registry, homes[registry.name]) as daemon:
                    cold.add(registry.name, _median_latency(daemon, method, tags))
                    warm.add(registry.name, _median_latency(daemon, method, tags))
        figures += [cold, warm]
        lab.say(f"{cold.name}: done")
    return figures


def _median_latency(daemon: Running, method: str, paths: list[str]) -> float:
    client = Client(daemon.port)
    took = []
    try:
        client.ask("GET", "/v2/")
        for path in paths:
            started = time.perf_counter()
            status, _, answer = client.ask(method, path, Accept=MANIFEST)
            took.append(time.perf_counter() - started)
            if status != 200:
                raise LoadError(f"{method} {path} of {daemon.name}: {status}: {answer[:500]!r}")
    finally:
        client.close()
    return 1000 * statistics.median(took)
