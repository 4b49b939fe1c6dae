"""Work that a daemon does again and again in the background."""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

_FIRST_AFTER = 60.0


class Periodic(Service):
    """Runs ``work`` each time ``seconds`` after it ended; the first time after ``first`` seconds, if that is less.

    A failure is logged, the same one once, and does not end it; one of the ``expected`` kind in one line, others with
    their traceback. Stopping cancels what is under way.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        what: str,
        seconds: float,
        work: Callable[[], Awaitable[object]],
        first: float = _FIRST_AFTER,
        expected: tuple[type[Exception], ...] = (),
    ) -> None:
        self._reactor = reactor
        self._what = what
        self._seconds = seconds
        self._work = work
        self._first = first
        self._expected = expected
        self._call: IDelayedCall | None = None
        self._running: Deferred[None] | None = None
        self._told: str | None = None

    def startService(self) -> None:
        """Wait for the first time."""
        super().startService()
        self._wait(min(self._seconds, self._first))

    def stopService(self) -> None:
        """Stop, in the middle of it if need be."""
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._running is not None:
            self._running.cancel()

    def _wait(self, seconds: float) -> None:
        self._call = self._reactor.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._call = None
        self._running = ensureDeferred(self._once())
        self._running.addBoth(self._ended)

    async def _once(self) -> None:
        try:
            await self._work()
        except CancelledError:
            return
        except self._expected as error:
            log = self._log.debug if str(error) == self._told else self._log.error
            log("Could not {what}: {error}. It is tried again.", what=self._what, error=error)
            self._told = str(error)
        except Exception:
            self._log.failure("Could not {what}", what=self._what)
        else:
            if self._told is not None:
                self._log.info("It was possible again to {what}.", what=self._what)
            self._told = None

    def _ended(self, _: object) -> None:
        self._running = None
        if self.running:
            self._wait(max(self._seconds, 1.0))
