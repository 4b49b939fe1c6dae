"""What a client is waited for, and for how long."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from .deadline import Deadline
from .limits import LEAST_RATE, LINGER_SECONDS, HttpLimits


class Awaited(Enum):
    """What a client is to do next."""

    NOTHING = auto()
    """It is this side's turn."""
    REQUEST = auto()
    """To send a request, all of whose headers have to come within the time."""
    BODY = auto()
    """To send a body for the disk."""
    SMALL_BODY = auto()
    """To send a body that goes into memory, or to nobody."""
    READING = auto()
    """To take what it was sent."""
    GOODBYE = auto()
    """To see that it is refused, and stop sending."""


class Patience:
    """Calls ``expired`` with what was awaited when the time for it is over.

    A byte now and then is no reason to wait longer: the time begins anew with each step of the client's, and a body
    has to come at `LEAST_RATE`, but for pauses as long as the time itself.
    """

    def __init__(
        self, reactor: Any, clock: Callable[[], float], limits: HttpLimits, expired: Callable[[Awaited], None]
    ) -> None:
        self._deadline = Deadline(reactor, clock, self._too_late)
        self._expired = expired
        self._awaited = Awaited.NOTHING
        self._seconds = {
            Awaited.REQUEST: limits.idle,
            Awaited.BODY: limits.stall if limits.body is None else limits.body,
            Awaited.SMALL_BODY: limits.idle,
            Awaited.READING: limits.stall,
            Awaited.GOODBYE: min(limits.idle, LINGER_SECONDS),
        }

    def wait_for(self, awaited: Awaited) -> None:
        """Wait for this from now on; if that is what is waited for already, for no longer."""
        if awaited is self._awaited:
            return
        self._awaited = awaited
        if awaited is Awaited.NOTHING:
            self._deadline.clear()
        else:
            self._deadline.set(self._seconds[awaited])

    def step(self) -> None:
        """The client did what was awaited, or a part that counts for all."""
        awaited, self._awaited = self._awaited, Awaited.NOTHING
        self._deadline.clear()
        if awaited is Awaited.READING:
            self.wait_for(awaited)

    def came(self, length: int) -> None:
        """So many bytes of a body came."""
        if self._awaited is Awaited.BODY or self._awaited is Awaited.SMALL_BODY:
            self._deadline.earn(length / LEAST_RATE, self._seconds[self._awaited])

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._deadline.stop()

    def _too_late(self) -> None:
        self._expired(self._awaited)
