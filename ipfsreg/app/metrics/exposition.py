"""What was counted, in the text format that Prometheus reads."""

import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ipfsreg import __version__
from ipfsreg.app.webhooks.counts import EventCounts
from ipfsreg.bucket.errors import BucketError
from ipfsreg.registry.registry import Registry

from .durations import Durations, together
from .measured import Answered
from .measures import Measures

Labelled = Iterable[tuple[Sequence[str], float]]


EventsNow = Callable[[], Awaitable[EventCounts]]


@dataclass(slots=True)
class _Asked:
    """What has to be asked for, for each scrape; None is what is not known."""

    up: bool = True
    used: int | None = None
    disk: os.statvfs_result | None = None
    events: EventCounts = field(default_factory=EventCounts)


class Exposition:
    """Answers scrapes.

    Labels have values only of which there are few: no repository, and nothing that a client made up. ``directory`` is
    the daemon's own; ``events`` tells of webhooks, where there are any.
    """

    def __init__(self, measures: Measures, registry: Registry, directory: Path, events: EventsNow | None) -> None:
        self._measures = measures
        self._registry = registry
        self._directory = directory
        self._events = events
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        GCCollector(registry=self._process)

    async def text(self) -> bytes:
        """All of it."""
        asked = await self._ask()
        families = [*self._families(asked)]  # in the reactor, where nothing of it changes meanwhile
        return await self._measures.workers.run(self._text, families)

    async def _ask(self) -> _Asked:
        asked = _Asked()
        try:
            await self._registry.readiness.check()
        except BucketError:
            asked.up = False
        with suppress(BucketError):
            asked.used = await self._registry.bytes_used()
        with suppress(OSError):
            asked.disk = await self._measures.workers.run(os.statvfs, self._directory)
        if self._events is not None:
            with suppress(sqlite3.Error):
                asked.events = await self._events()
        return asked

    def _text(self, families: Sequence[Metric]) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Found(families))
        return generate_latest(registry) + generate_latest(self._process)

    def _families(self, asked: _Asked) -> Iterator[Metric]:
        yield InfoMetricFamily("ipfsreg_build", "The version that runs.", {"version": __version__})
        yield from self._of_requests()
        yield from self._of_backend(asked.up)
        yield from self._of_storage(asked)
        yield from self._of_upkeep()
        yield from self._of_daemon()
        yield from _of_events(asked.events)

    def _of_requests(self) -> Iterator[Metric]:
        counted = [((route or "none", status), each) for (route, status), each in self._measures.requests.all()]
        yield _counter(
            "requests",
            "Requests that were answered. The route is none where the path leads nowhere, or nobody was let in.",
            ("route", "status"),
            [((route, str(status)), sum(each.durations.counts)) for (route, status), each in counted],
        )
        routes: dict[str, list[Answered]] = {}
        for (route, _), each in counted:
            routes.setdefault(route, []).append(each)
        items = [((route,), answered) for route, answered in routes.items()]
        received = [(label, sum(each.received for each in answered)) for label, answered in items]
        yield _counter("request_bytes", "Bytes of content that clients have sent.", ("route",), received)
        sent = [(label, sum(each.sent for each in answered)) for label, answered in items]
        yield _counter("response_bytes", "Bytes of content that clients were sent.", ("route",), sent)
        yield _histogram(
            "request_duration_seconds",
            "From a request's headers to the end of its answer, with the transfer of both bodies.",
            ("route",),
            [(label, [each.durations for each in answered]) for label, answered in items],
        )
        servers = self._measures.servers
        busy, connections = sum(each.busy for each in servers), sum(len(each.connections) for each in servers)
        yield _gauge("requests_in_progress", "Requests that are being answered.", busy)
        yield _gauge("connections", "Connections of clients.", connections)
        yield _gauge("upload_sessions", "Unfinished uploads.", self._registry.uploads.count)

    def _of_backend(self, up: bool) -> Iterator[Metric]:
        name = self._measures.backend_name
        operations = [((name, of), each) for bucket in self._measures.buckets for of, each in bucket.operations.items()]
        labels = ("backend", "operation")
        yield _counter(
            "backend_operations",
            "What the storage was asked, by how that ended; missing is that there is no such file.",
            (*labels, "outcome"),
            [
                ((*label, outcome), count)
                for label, each in operations
                for outcome, count in (("done", each.done), ("missing", each.missing), ("failed", each.failed))
            ],
        )
        yield _gauges(
            "backend_operations_in_progress",
            "What the storage was asked and has not answered.",
            labels,
            [(label, each.under_way) for label, each in operations],
        )
        yield _histogram(
            "backend_operation_duration_seconds",
            "How long the storage took. Open ends when the content can be read.",
            labels,
            [(label, [each.durations]) for label, each in operations],
        )
        yield _gauges("backend_up", "Whether the storage answers.", ("backend",), [((name,), up)])

    def _of_storage(self, asked: _Asked) -> Iterator[Metric]:
        caches = [((name,), hits) for name, hits in self._measures.caches(self._registry.small_files)]
        had, had_not = "How often a cache had what was asked for.", "How often a cache did not have it."
        yield _counter("cache_hits", had, ("cache",), [(label, each.hits) for label, each in caches])
        yield _counter("cache_misses", had_not, ("cache",), [(label, each.misses) for label, each in caches])
        used = [] if asked.used is None else [((), asked.used)]
        yield _gauges("storage_used_bytes", "Bytes of what repositories have, each content once.", (), used)
        free = [] if asked.disk is None else [((), asked.disk.f_bavail * asked.disk.f_frsize)]
        size = [] if asked.disk is None else [((), asked.disk.f_blocks * asked.disk.f_frsize)]
        yield _gauges("disk_free_bytes", "Bytes that are free where the daemon has its directory.", (), free)
        yield _gauges("disk_size_bytes", "Bytes of the disk where the daemon has its directory.", (), size)

    def _of_upkeep(self) -> Iterator[Metric]:
        gc, scrub = self._registry.collector.totals, self._registry.scrubber.totals
        yield _counter("gc_runs", "Runs of the garbage collector.", (), [((), gc.runs)])
        yield _counter("gc_seconds", "Seconds in which the garbage collector ran.", (), [((), gc.seconds)])
        removed = (("manifest", gc.manifests), ("blob_link", gc.blob_links), ("content", gc.contents))
        what = "What the garbage collector has removed."
        yield _counter("gc_removed", what, ("kind",), [((kind,), count) for kind, count in removed])
        yield _counter("gc_freed_bytes", "Bytes that the garbage collector has freed.", (), [((), gc.freed)])
        yield _counter("scrub_contents", "Contents that the scrub has read.", (), [((), scrub.contents)])
        yield _counter("scrub_bytes", "Bytes that the scrub has read.", (), [((), scrub.bytes)])
        yield _counter("scrub_damaged", "Contents that the scrub has found damaged.", (), [((), scrub.damaged)])

    def _of_daemon(self) -> Iterator[Metric]:
        workers = self._measures.workers
        yield _gauge("worker_threads", "Threads that there may be for the disk.", workers.threads)
        yield _gauge("worker_tasks", "What threads are at, or what waits for one.", workers.under_way)
        took = "How long what was given to a thread took, with the wait for one."
        yield _histogram("worker_task_duration_seconds", took, (), [((), [workers.durations])])
        lag = "How much too late the event loop called what was due: it was busy with something else."
        yield _histogram("event_loop_lag_seconds", lag, (), [((), [self._measures.lag.durations])])


def _of_events(events: EventCounts) -> Iterator[Metric]:
    hooks, label = events.webhooks, ("endpoint",)
    sent = [((each.name,), each.sent) for each in hooks]
    yield _counter("webhook_events_sent", "Events that a webhook has taken.", label, sent)
    failures = [((each.name,), each.failures) for each in hooks]
    yield _counter("webhook_failures", "Attempts to send events that failed.", label, failures)
    lost = [((each.name,), each.lost) for each in hooks]
    yield _counter("webhook_events_lost", "Events that a webhook never had: too many waited.", label, lost)
    waiting = [((each.name,), each.waiting) for each in hooks]
    yield _gauges("webhook_events_waiting", "Events that a webhook has not taken yet.", label, waiting)
    not_written = [((), events.not_written)]
    yield _counter("events_not_written", "Events that the disk did not take, and no webhook has.", (), not_written)


class _Found(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counter(name: str, what: str, labels: Sequence[str], values: Labelled) -> Metric:
    family = CounterMetricFamily(f"ipfsreg_{name}", what, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family


def _gauges(name: str, what: str, labels: Sequence[str], values: Labelled) -> Metric:
    family = GaugeMetricFamily(f"ipfsreg_{name}", what, labels=labels)
    for label, value in values:
        family.add_metric(label, value)
    return family


def _gauge(name: str, what: str, value: float) -> Metric:
    return _gauges(name, what, (), [((), value)])


def _histogram(
    name: str, what: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], Iterable[Durations]]]
) -> Metric:
    family = HistogramMetricFamily(f"ipfsreg_{name}", what, labels=labels)
    for label, durations in values:
        family.add_metric(label, *together(durations))
    return family
