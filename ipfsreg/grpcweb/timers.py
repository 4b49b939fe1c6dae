"""The time a call may take."""

import math
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .errors import DeadlineExceeded


def grpc_timeout(seconds: float) -> str:
    """The value of a ``grpc-timeout`` header: at most eight digits and a unit (gRPC's protocol description)."""
    milliseconds = max(1, math.ceil(seconds * 1000))
    if milliseconds < 10**8:
        return f"{milliseconds}m"
    return f"{min(math.ceil(seconds), 10**8 - 1)}S"


class Timers:
    """The deadline of a call, and the longest time in which nothing may move on it. Both in seconds."""

    def __init__(
        self,
        reactor: IReactorTime,
        deadline: float,
        idle: float | None,
        expired: Callable[[DeadlineExceeded], None],
    ) -> None:
        if deadline <= 0 or (idle is not None and idle <= 0):
            raise ValueError("a call needs some time")
        self._reactor = reactor
        self._idle = idle
        self._expired = expired
        self._suspended = False
        self._deadline_call = reactor.callLater(deadline, expired, DeadlineExceeded(deadline, idle=False))
        self._idle_call: IDelayedCall | None = None
        self._watch()

    def progress(self) -> None:
        """Something moved, in either direction."""
        if self._idle_call is not None and self._idle is not None and self._idle_call.active():
            self._idle_call.reset(self._idle)

    def suspend(self) -> None:
        """From now on silence is this side's own doing."""
        self._suspended = True
        _cancel(self._idle_call)
        self._idle_call = None

    def resume(self) -> None:
        """From now on silence is the server's again."""
        self._suspended = False
        self._watch()

    def stop(self) -> None:
        """The call has ended."""
        self._suspended = True
        _cancel(self._deadline_call)
        _cancel(self._idle_call)
        self._idle_call = None

    def _watch(self) -> None:
        if self._idle is not None and self._idle_call is None and not self._suspended:
            self._idle_call = self._reactor.callLater(
                self._idle, self._expired, DeadlineExceeded(self._idle, idle=True)
            )


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()
