"""Parts of the daemon that count what they do: in place of those that do not."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Stat
from ipfsreg.bucket.wrapper import BucketWrapper
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


class MeasuredBucket(BucketWrapper):
    """A bucket, with what was asked of it. ``operations`` has the names of `IBucket`'s methods; none is for walks."""

    def __init__(self, bucket: IBucket) -> None:
        super().__init__(bucket)
        names = ("stat", "get", "open", "put", "put_file", "move", "remove", "list")
        self.operations = {name: Operation() for name in names}

    def stat(self, path: str) -> "Deferred[Stat]":
        return self._measure("stat", self._bucket.stat, path)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        return self._measure("get", self._bucket.get, path, limit)

    def open(self, path: str) -> "Deferred[IReader]":
        return self._measure("open", self._bucket.open, path)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self._measure("put", self._bucket.put, path, content)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return self._measure("put_file", self._bucket.put_file, path, source)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        return self._measure("move", self._bucket.move, source, destination)

    def remove(self, path: str) -> "Deferred[None]":
        return self._measure("remove", self._bucket.remove, path)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        return self._measure("list", self._bucket.list, directory)

    def _measure(self, name: str, call: "Callable[P, Deferred[T]]", *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        operation = self.operations[name]
        began = monotonic()
        operation.under_way += 1
        return call(*args, **kwargs).addBoth(operation.ended, began)


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
