"""What keeps a server that is away from being asked by every request of every client."""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.application.internet import backoffPolicy
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ipfsreg.grpcweb.errors import CallError, ConnectionBroken, DeadlineExceeded, GrpcError, NotConnected

from .errors import BucketError, Unavailable, Unreachable

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 5.0
"""Seconds between two questions to a server that does not answer. Clients are told to come back as late."""

BROKEN_IN_A_ROW = 3
"""After so many calls in a row that broke or took too long the server counts as away; one refused connection does."""

_pause = backoffPolicy(FIRST_PAUSE, LONGEST_PAUSE, jitter=lambda: random.uniform(0.0, 0.25))


class NotAsked(Unreachable):
    """No connection came about: the server has done nothing."""


class Breaker:
    """Lets calls through while the server answers; while it does not, one call at a time, with growing pauses.

    The others fail at once, and say when to come back. Any answer, also a refusal, ends that.
    """

    _log = Logger()

    def __init__(self, name: str, clock: IReactorTime) -> None:
        self._name = name
        self._clock = clock
        self._broken = 0
        self._pauses = 0
        self._until: float | None = None
        self._probe: float | None = None
        self._stopped = False

    def stop(self) -> None:
        """Let no call through any more: the daemon is stopping."""
        self._stopped = True

    @contextmanager
    def guard(self, method: str, meaning: Callable[[GrpcError], BucketError], busy: str = "") -> Iterator[None]:
        """Make a call, from its beginning to its outcome, in the block, which raises the call's `CallError`.

        :param meaning: what a refusal by the server becomes.
        :param busy: where the server may have the call wait for others: what to say when its time is over, which then
            is no sign that the server is away.
        :raises Unreachable: where no answer came, or no call can be made now; `NotAsked` where none was made.
        :raises BucketError: as ``meaning`` has it.
        """
        self.check()
        try:
            yield
        except GrpcError as error:
            self.answered()
            raise meaning(error) from None
        except CallError as error:
            if busy and isinstance(error, DeadlineExceeded):
                self.undecided()
                raise Unavailable(f"{method}: {error}; {busy}") from None
            self.failed(error)
            kind = NotAsked if isinstance(error, NotConnected) else Unreachable
            raise kind(f"{method}: {error}") from None
        except BaseException:
            self.undecided()
            raise
        self.answered()

    def check(self) -> None:
        """Ask before each call, which has to end with one of the other methods.

        :raises Unreachable: where it should not be made.
        """
        if self._stopped:
            raise Unavailable("the daemon is stopping")
        if self._until is None:
            return
        now = self._clock.seconds()
        # A question that hangs must not keep the next one from being asked for its whole deadline.
        probing = self._probe is not None and now - self._probe < LONGEST_PAUSE
        if now < self._until or probing:
            wait = math.ceil(max(self._until - now, 1.0))
            raise Unreachable(f"{self._name} does not answer; it is asked again within seconds", wait)
        self._probe = now

    def answered(self) -> None:
        """The server answered, be it with a refusal."""
        if self._until is not None:
            self._log.info("{name} answers again.", name=self._name)
        self._broken = self._pauses = 0
        self._until = self._probe = None

    def failed(self, error: CallError) -> None:
        """The call failed without an answer."""
        self._probe = None
        if not isinstance(error, ConnectionBroken | DeadlineExceeded):
            return
        self._broken += 1
        now = self._clock.seconds()
        if self._until is not None and now < self._until:
            return  # one of several that were under way when the server went
        if isinstance(error, NotConnected) or self._broken >= BROKEN_IN_A_ROW:
            if self._until is None:
                self._log.error("{name} does not answer: {error}.", name=self._name, error=error)
            self._until = now + _pause(self._pauses)
            self._pauses += 1

    def undecided(self) -> None:
        """The call was given up by this side."""
        self._probe = None
