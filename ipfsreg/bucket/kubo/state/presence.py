"""The markers by which daemons know of each other, as long as they change the bucket.

Each holds the time at which it was put up. It is put up anew now and then, so that what is left of a daemon that was
killed does not count for long.
"""

import re
import time
from collections.abc import Callable

from ipfsreg.bucket.kubo.node.markers import Markers

RENEW_SECONDS = 600.0
"""How often a daemon says anew that it is there."""

EXPIRE_SECONDS = 3 * RENEW_SECONDS
"""After so long one that does not is not there any more; the clocks of daemons differ by much less."""

_TEXT = re.compile(r"daemon ([0-9a-f]+) ([0-9]{1,12})")


class Presence:
    """Whether this daemon is there, and any other. ``seconds`` tells how time goes by, ``now`` the time of day."""

    def __init__(
        self,
        markers: Markers,
        owner: Callable[[], str],
        seconds: Callable[[], float],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._markers = markers
        self._owner = owner
        self._seconds = seconds
        self._now = now
        self._text: str | None = None
        self._said = 0.0

    async def begin(self) -> None:
        """Say that it is there, unless that was said lately. It is there before it takes anything."""
        if self._text is None or self._seconds() - self._said > RENEW_SECONDS:
            await self._say()

    async def renew(self) -> None:
        """Say it anew, where it was said before."""
        if self._text is not None:
            await self._say()

    async def _say(self) -> None:
        said, text = self._seconds(), f"daemon {self._owner()} {int(self._now())}"
        if text != self._text:
            await self._markers.add(text)
            before, self._text, self._said = self._text, text, said
            if before is not None:
                await self._markers.take(before)

    async def end(self) -> None:
        """Say that it is not there any more."""
        if self._text is not None:
            await self._markers.take(self._text)

    async def is_alone(self) -> bool:
        """Whether no other daemon is there.

        What dead ones left is removed; this daemon's own marker is put up again where it is missing.
        """
        alone, own = True, False
        for text in await self._markers.all():
            match = _TEXT.fullmatch(text)
            if match is None or text == self._text:
                own = own or text == self._text
            elif match[1] == self._owner() or int(match[2]) < self._now() - EXPIRE_SECONDS:
                await self._markers.take(text)
            else:
                alone = False
        if not own and self._text is not None:  # the node is another one, or somebody has removed its pins
            await self._markers.add(self._text)
            return False
        return alone
