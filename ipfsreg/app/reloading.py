"""SIGHUP: what can be read anew is, and nobody's transfer is touched."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger

from .notify import notify


@dataclass(frozen=True, slots=True)
class Reloadable:
    """Something that can be read anew: ``what`` it is, for the log.

    ``reload`` may be a coroutine function. It answers what is so now, in a few words. If it fails, all stays as it was.
    """

    what: str
    reload: Callable[[], Any]


class Reloading(Service):
    """Reloads on SIGHUP, one thing after the other.

    A daemon whose terminal was closed gets the same signal. Nobody can see it any more, so it stops, and its transfers
    have the time that a stop gives them; unless it was started to outlive its terminal, as by ``nohup``.
    """

    _log = Logger()

    def __init__(self, reloadables: Sequence[Reloadable], reactor: Any) -> None:
        self._reloadables = reloadables
        self._reactor = reactor
        self._running: Deferred[None] | None = None
        self._again = False
        self._had_terminal = False

    def startService(self) -> None:
        """Take the signal from now on, to the end of the process: also while transfers end."""
        super().startService()
        before = signal.signal(signal.SIGHUP, self._signalled)
        self._had_terminal = before != signal.SIG_IGN and _has_terminal()

    def reload(self) -> None:
        """Begin to reload; while that is under way, again when it ends."""
        self._again = self._running is not None
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._reload())
            self._running.addBoth(self._ended)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._hung_up)

    def _hung_up(self) -> None:
        if not self.running:
            return
        if self._had_terminal and not _has_terminal():
            self._log.info("The terminal was closed, so the daemon stops.")
            self._reactor.stop()
        else:
            self.reload()

    async def _reload(self) -> None:
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        done, failed = [], False
        for each in self._reloadables:
            try:
                done.append(str(await maybeDeferred(_called, each.reload)))
            except CancelledError:
                raise
            except Exception as error:
                failed = True
                self._log.error("SIGHUP: {what} stays as it was: {error}", what=each.what, error=error)
        if done or not failed:
            self._log.info("SIGHUP: {done}. Transfers go on.", done="; ".join(done) or "there is nothing to read anew")
        notify("READY=1")

    def _ended(self, _: object) -> None:
        self._running = None
        if self._again:
            self.reload()


def _called(reload: Callable[[], Any]) -> Any:
    found = reload()
    return Deferred.fromCoroutine(found) if hasattr(found, "send") else found


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
