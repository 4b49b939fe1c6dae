"""Whether the storage answers, for a load balancer that has to know before it sends clients here."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.flow.clock import MonotonicClock
from ipfsreg.flow.single_flight import SingleFlight

READY_SECONDS = 5.0
"""For how long the storage is waited for: probes have little patience."""

REMEMBERED_SECONDS = 1.0
"""For how long it is believed that it answers, however often somebody asks."""


class Readiness:
    """``look`` asks the storage for something that is always there, and fails with a `BucketError`."""

    def __init__(self, look: Callable[[], Awaitable[object]], reactor: IReactorTime) -> None:
        self._looking = SingleFlight(look)
        self._reactor = reactor
        self._clock = MonotonicClock()
        self._answered = float("-inf")

    async def check(self) -> None:
        """Fails with a `BucketError` where the storage does not answer."""
        began = self._clock.seconds()
        if began - self._answered < REMEMBERED_SECONDS:
            return
        try:
            await self._looking.outcome().addTimeout(READY_SECONDS, self._reactor)
        except TookTooLong:
            raise Unavailable(f"the storage did not answer within {READY_SECONDS:g} seconds") from None
        self._answered = began
