"""A bucket in memory whose every operation takes effect, and is heard of, when a test says so.

Real storages answer some time after an operation took effect, and many are under way at once. Here each is two
events that wait in a `Scheduler` until a test (or Hypothesis) picks them, so every interleaving can be had.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import BucketError, NotFound, TooLarge
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Listing, Stat, check_path, walk_by_listing

T = TypeVar("T")

current_owner: ContextVar[str] = ContextVar("current_owner", default="")
"""Who is at work: the events of its operations are its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Something that can happen now."""

    owner: str
    label: str
    happen: Callable[[], None]

    def __repr__(self) -> str:
        return f"<{self.owner}: {self.label}>"


class Scheduler:
    """The events that can happen now. `log` has those that did, for a test that wants to know why."""

    def __init__(self) -> None:
        self.pending: list[Event] = []
        self.log: list[Event] = []

    def add(self, label: str, happen: Callable[[], None], owner: str | None = None) -> None:
        """Let an event wait for its turn."""
        self.pending.append(Event(current_owner.get() if owner is None else owner, label, happen))

    def fire(self, event: Event) -> None:
        """Let a waiting event happen."""
        self.pending.remove(event)
        self.log.append(event)
        event.happen()

    def fire_all(self) -> None:
        """Let everything happen, in order, until nothing waits."""
        while self.pending:
            self.fire(self.pending[0])


@implementer(IBucket)
class ScheduledBucket:
    """See `IBucket`. `files` is what it holds; `put_file` takes its content from `spool`.

    ``fail`` is asked with each operation's label when it takes effect: an error it returns is the outcome, and
    the flag beside it says whether the operation took effect all the same.
    """

    name = "memory"
    shared = False

    def __init__(self, scheduler: Scheduler) -> None:
        self.files: dict[str, bytes] = {}
        self.spool: dict[Path, bytes] = {}
        self.fail: Callable[[str], tuple[BucketError, bool] | None] = lambda label: None
        self._scheduler = scheduler

    def start(self) -> "Deferred[None]":
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        return succeed(None)

    def stat(self, path: str) -> "Deferred[Stat]":
        return self._operation(f"stat {path}", lambda: Stat(len(self._content(path))), path)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        def get() -> bytes:
            content = self._content(path)
            if len(content) > limit:
                raise TooLarge(path)
            return content

        return self._operation(f"get {path}", get, path)

    def open(self, path: str) -> "Deferred[IReader]":
        return self._operation(f"open {path}", lambda: _Reader(self._content(path)), path)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self._operation(f"put {path}", lambda: self.files.update({path: content}), path)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        def put() -> None:
            if source not in self.spool:
                raise NotFound(str(source))
            self.files[path] = self.spool.pop(source)

        return self._operation(f"put_file {path}", put, path)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        def move() -> None:
            self.files[destination] = self._content(source)
            if source != destination:
                del self.files[source]

        return self._operation(f"move {source} {destination}", move, source, destination)

    def remove(self, path: str) -> "Deferred[None]":
        def remove() -> None:
            self._content(path)
            del self.files[path]

        return self._operation(f"remove {path}", remove, path)

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        return walk_by_listing(self.list, directory, into)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        def entries() -> Sequence[Entry]:
            below = [path[len(directory) + 1 :] for path in self.files if path.startswith(f"{directory}/")]
            return sorted({Entry(path.partition("/")[0], "/" in path) for path in below})

        return self._operation(f"list {directory}", entries, directory)

    def _content(self, path: str) -> bytes:
        if path not in self.files:
            raise NotFound(path)
        return self.files[path]

    def _operation(self, label: str, effect: Callable[[], T], *paths: str) -> "Deferred[T]":
        for path in paths:
            check_path(path)
        return in_two_events(self._scheduler, label, effect, self.fail)


def in_two_events(
    scheduler: Scheduler,
    label: str,
    effect: "Callable[[], T | Deferred[T]]",
    fail: Callable[[str], tuple[BucketError, bool] | None],
) -> "Deferred[T]":
    """Have something happen when its event is picked, and be told of it when the next one is; see `ScheduledBucket`."""
    done: Deferred[T] = Deferred()
    owner = current_owner.get()

    def tell(outcome: T | Failure) -> None:
        scheduler.add(f"told of {label}", lambda: done.callback(outcome), owner)

    def take_effect() -> None:
        failure = fail(label)
        if failure is not None and not failure[1]:
            tell(Failure(failure[0]))
            return
        happened: Deferred[Any] = maybeDeferred(effect)
        if failure is not None:
            happened.addCallback(lambda _: Failure(failure[0]))
        happened.addBoth(tell)

    scheduler.add(label, take_effect)
    return done


@implementer(IReader)
class _Reader:
    file: IO[bytes] | None = None

    def __init__(self, content: bytes) -> None:
        self.size: int | None = len(content)
        self._content = content

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        yield self._content[offset : offset + length]

    def close(self) -> None:
        pass
