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

from ipfsreg.flow.progress import Progress

Arguments: TypeAlias = Mapping[str, str]
Event: TypeAlias = dict[str, Any]

EVERY_SECONDS = 0.25
"""How often it is told how far something is."""

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
    running = Deferred.fromCoroutine(task.work(arguments, progress))
    heard = False
    try:
        while not await _ended_within(running, EVERY_SECONDS, clock):
            yield {"progress": asdict(progress)}
        heard = True
        yield {"result": await running}
    finally:
        if not heard:  # it goes on: it may be in the middle of a removal
            running.addErrback(_tell)


async def _ended_within(running: "Deferred[Any]", seconds: float, clock: IReactorTime) -> bool:
    tick: Deferred[None] = Deferred()
    call = clock.callLater(seconds, tick.callback, None)

    def ended(result: Any) -> Any:
        if call.active():
            call.cancel()
            tick.callback(None)
        return result

    running.addBoth(ended)
    try:
        await tick
    finally:
        if call.active():
            call.cancel()
    return running.called


def _tell(failure: Failure) -> None:
    _log.error("What a command asked for, and did not wait for, failed: {error}", error=failure.value)
