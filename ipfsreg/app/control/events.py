"""Tasks whose answer comes in events: how far they are, or a long list page by page.

An event is a JSON object with one name. ``progress`` has the fields of `Progress`, ``items`` a page of a list,
``result`` the end, and ``error`` a failure after the first event, with its HTTP ``status`` and ``message``.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError, SetupError, Unavailable, Unchangeable
from ipfsreg.flow.progress import Progress
from ipfsreg.flow.signal import Signal
from ipfsreg.registry.errors import RegistryError

Arguments: TypeAlias = Mapping[str, str]
Event: TypeAlias = dict[str, Any]

EVENTS = "application/x-ndjson"
"""The media type of events: JSON, one in each line."""

ROOT_HEADER = "X-Root"
"""The CID of an exported image's directory."""

MISSING_HEADER = "X-Missing"
"""How many of the manifests that the image lists are not in the CAR."""

EVERY_SECONDS = 0.25
"""How often it is told how far something is."""

TELLING = (BucketError, RegistryError, SetupError)
"""The failures that say in one line for a person what is wrong."""

_log = Logger()


@dataclass(frozen=True, slots=True)
class Long:
    """A task that may take long, and says in a `Progress` how far it is."""

    work: Callable[[Arguments, Progress], Coroutine[Any, Any, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Listing:
    """A task that answers a list of any length, in pages."""

    pages: Callable[[Arguments], AsyncGenerator[Sequence[Any], None]]


async def events_of(task: Long | Listing, arguments: Arguments, clock: IReactorTime) -> AsyncGenerator[Event, None]:
    """What there is to tell of a task, to its end. Who stops listening to a `Long` does not stop it."""
    if isinstance(task, Listing):
        async with aclosing(task.pages(arguments)) as pages:
            async for page in pages:
                yield {"items": page}
        yield {"result": {}}
        return
    progress = Progress()
    running = _Running(task.work(arguments, progress))
    try:
        while not await running.ends_within(EVERY_SECONDS, clock):
            yield {"progress": asdict(progress)}
        yield {"result": running.result()}
    finally:
        running.heard = False


class _Running:
    """Work that goes on to its end, whether or not somebody waits: it may be in the middle of a removal."""

    def __init__(self, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
        self.heard = True
        self._outcome: list[dict[str, Any] | Failure] = []
        self._over = Signal()
        Deferred.fromCoroutine(work).addBoth(self._ended)

    async def ends_within(self, seconds: float, clock: IReactorTime) -> bool:
        """Wait so long, or until the work has ended; answers whether it has."""
        if not self._outcome:
            call = clock.callLater(seconds, self._over.give)
            try:
                await self._over.wait()
            finally:
                if call.active():
                    call.cancel()
        return bool(self._outcome)

    def result(self) -> dict[str, Any]:
        """The result of work that has ended; fails as it did."""
        (outcome,) = self._outcome
        if isinstance(outcome, Failure):
            outcome.raiseException()
            raise AssertionError("not reached")
        return outcome

    def _ended(self, outcome: dict[str, Any] | Failure) -> None:
        self._outcome.append(outcome)
        if self.heard:
            self._over.give()
        elif isinstance(outcome, Failure):
            _log.error("What a command asked for, and did not wait for, failed: {error}", error=outcome.value)


def http_status(error: Exception) -> int:
    """The status that tells what kind of failure one of `TELLING` is."""
    if isinstance(error, RegistryError):
        return error.status
    if isinstance(error, Unavailable):
        return 503
    return 405 if isinstance(error, Unchangeable) else 500
