"""Work in the background of which one piece runs at a time."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure


class Background:
    """Runs ``work`` once each time it is started, and not while it runs. What it fails with is logged.

    ``what`` names the work in the log.
    """

    _log = Logger()

    def __init__(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        self._what = what
        self._work = work
        self._running: Deferred[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin, unless it runs already or is stopped for good."""
        if self._running is None and not self._stopped:
            self._running = running = Deferred.fromCoroutine(self._run())
            running.addBoth(self._ended)

    def stop(self) -> None:
        """Cancel it, and do not begin any more."""
        self._stopped = True
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> None:
        await self._work()

    def _ended(self, result: None | Failure) -> None:
        self._running = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("Could not {what}", result, what=self._what)
