"""Manifests: the latency of the first request after a start with nothing in memory, and of the second."""

import statistics
import time
from contextlib import ExitStack

from ..figures import Figure
from ..images import MANIFEST, Client, image_set, push_all
from ..lab import Lab
from ..load import LoadError
from ..machine import drop_from_cache
from ..registries import Running, running


def measure(lab: Lab) -> list[Figure]:
    """HEAD and GET by tag, one after the other on one connection: the median over a set of images."""
    images = image_set(lab.scale.images)
    figures = []
    with ExitStack() as stack:
        homes = {registry.name: stack.enter_context(lab.home()) for registry in lab.registries}
        for registry in lab.registries:
            with running(registry, homes[registry.name]) as daemon:
                lab.say(f"manifests: pushing {len(images)} images to {daemon.name}")
                push_all(daemon.port, images)
        for method in ("HEAD", "GET"):
            cold = Figure(f"manifest {method}, first after a start, not in page cache", "ms", higher_is_better=False)
            warm = Figure(f"manifest {method}, again", "ms", higher_is_better=False)
            for _ in range(lab.scale.load_rounds):
                for registry in lab.registries:
                    drop_from_cache(homes[registry.name])
                    with running(registry, homes[registry.name]) as daemon:
                        for figure in (cold, warm):
                            figure.add(registry.name, _median_latency(daemon, method, [each.path for each in images]))
            figures += [cold, warm]
            lab.say(f"{cold.name}: done")
    return figures


def _median_latency(daemon: Running, method: str, paths: list[str]) -> float:
    """The median in milliseconds."""
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
