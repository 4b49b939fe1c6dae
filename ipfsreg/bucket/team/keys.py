"""The keys of a team for its bucket, each time as young as they have to be."""

import math

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.encryption.keyring import Keyring
from ipfsreg.flow.single_flight import SingleFlight

from .team import Team

PAUSE = 1.0
"""So many seconds are between two looks at the team's documents, whatever is stored or read meanwhile."""


class TeamKeys:
    """See `KeyringSource`. ``clock`` is one that nobody can set."""

    def __init__(self, team: Team, clock: IReactorTime) -> None:
        self._team = team
        self._clock = clock
        self._looking = SingleFlight(self._look)
        self._looked_at = self._renewed_at = -math.inf
        self._renewing = DeferredLock()
        self._next: SingleFlight[None] | None = None
        """The reading that has not begun yet, for all who ask until then."""

    def current(self) -> Keyring:
        """See `KeyringSource`. `Unavailable` where the team was not read yet."""
        return self._team.current()

    async def fresh(self) -> Keyring:
        """See `KeyringSource`. `Unavailable` where nobody can say whether there is a newer generation."""
        if self._clock.seconds() - self._looked_at >= PAUSE:
            await self._looking.outcome()
        return self.current()

    async def _look(self) -> None:
        begun = self._clock.seconds()
        try:
            if not await self._team.has_all_generations():
                await self._team.refresh()
        except BucketError as error:
            raise Unavailable(f"whether there is a newer key cannot be read: {error}") from None
        self._looked_at = begun

    async def renewed(self) -> Keyring:
        """See `KeyringSource`. `Unavailable` where the team cannot be read now."""
        if self._next is None:
            self._next = SingleFlight(self._renew)
        await self._next.outcome()
        return self.current()

    async def _renew(self) -> None:
        async with self._renewing:
            # Files that somebody forged must not have each of their readers read the team anew.
            if (wait := self._renewed_at + PAUSE - self._clock.seconds()) > 0:
                await deferLater(self._clock, wait)
            self._next = None
            self._renewed_at = self._clock.seconds()
            try:
                await self._team.refresh()
            except BucketError as error:
                raise Unavailable(f"who may write cannot be read anew: {error}") from None
