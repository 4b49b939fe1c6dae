"""Parts of the daemon that count what they do: in place of those that do not."""

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.observed import OPERATIONS, ObservedBucket
from ipfsreg.flow.workers import Workers
from ipfsreg.web.http.request import Request

from .durations import Durations

P = ParamSpec("P")
T = TypeVar("T")

LAG_SECONDS = 0.5
"""How often it is looked how late the reactor is."""


class Answered:
    """What requests of one route had as their status."""

    __slots__ = ("durations", "received", "sent")

    def __init__(self) -> None:
        self.durations = Durations()
        self.received = 0
        self.sent = 0


class RequestCounts:
    """Requests that have their whole answer, by route and status. Neither has what a client could make up."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, int], Answered] = {}

    def all(self) -> Iterable[tuple[tuple[str, int], Answered]]:
        """All of them."""
        return self._counted.items()

    def answered(self, request: Request) -> None:
        """See `HttpServer`."""
        key = (request.route, request.code)
        counted = self._counted.get(key)
        if counted is None:
            counted = self._counted[key] = Answered()
        counted.durations.add(monotonic() - request.began)
        counted.received += request.body.received
        counted.sent += request.sent_length


class MeasuredWorkers(Workers):
    """Threads, with how long each piece of work took, the wait for a thread included."""

    def __init__(self, reactor: Any, threads: int) -> None:
        super().__init__(reactor, threads)
        self.threads = threads
        self.durations = Durations()
        self.under_way = 0

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        self.under_way += 1
        return super().run(function, *args, **kwargs).addBoth(self._ended, monotonic())

    def _ended(self, result: T, began: float) -> T:
        self.under_way -= 1
        self.durations.add(monotonic() - began)
        return result


class Operation:
    """What was asked of a bucket in one way. ``missing``: there is no such file, which is no failure."""

    __slots__ = ("done", "durations", "failed", "missing", "under_way")

    def __init__(self) -> None:
        self.durations = Durations()
        self.under_way = 0
        self.done = 0
        self.missing = 0
        self.failed = 0

    def ended(self, result: T, began: float) -> T:
        """One is over, with a result or a failure."""
        self.under_way -= 1
        self.durations.add(monotonic() - began)
        if not isinstance(result, Failure):
            self.done += 1
        elif result.check(NotFound):
            self.missing += 1
        else:
            self.failed += 1
        return result


class MeasuredBucket(ObservedBucket):
    """A bucket, with what was asked of it: ``operations`` by their names."""

    def __init__(self, bucket: IBucket) -> None:
        super().__init__(bucket)
        self.operations = {name: Operation() for name in OPERATIONS}

    def _around(
        self, operation: str, call: "Callable[P, Deferred[T]]", *args: P.args, **kwargs: P.kwargs
    ) -> "Deferred[T]":
        measured = self.operations[operation]
        began = monotonic()
        measured.under_way += 1
        return call(*args, **kwargs).addBoth(measured.ended, began)


class Lag:
    """How much later than it should the reactor calls what it was told to call: how long it was busy with one thing."""

    def __init__(self, reactor: Any) -> None:
        self.durations = Durations()
        self._reactor = reactor
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to look."""
        self._due = monotonic() + LAG_SECONDS
        self._call = self._reactor.callLater(LAG_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self.durations.add(max(0.0, monotonic() - self._due))
        self.start()
