"""The markers by which daemons know of each other, as long as they change the bucket.

Each holds the time at which it was put up. It is put up anew now and then, so that what is left of a daemon that was
killed does not count for long.
"""

import re

from ipfsreg.bucket.kubo.node.markers import Markers

from .clocks import Clocks
from .notes import Notes

RENEW_SECONDS = 600.0
"""How often a daemon says anew that it is there."""

EXPIRE_SECONDS = 3 * RENEW_SECONDS
"""After so long one that does not is not there any more; the clocks of daemons differ by much less."""

_TEXT = re.compile(r"daemon ([0-9a-f]+) ([0-9]{1,12})")


class Presence:
    """Whether this daemon is there, and any other."""

    def __init__(self, markers: Markers, notes: Notes, clocks: Clocks) -> None:
        self._markers = markers
        self._notes = notes
        self._clocks = clocks
        self._text: str | None = None
        self._said = 0.0

    async def begin(self) -> None:
        """Say that it is there, unless that was said lately. It is there before it takes anything."""
        if self._text is None or self._clocks.uptime() - self._said > RENEW_SECONDS:
            await self._say()

    async def renew(self) -> None:
        """Say it anew, where it was said before."""
        if self._text is not None:
            await self._say()

    async def _say(self) -> None:
        said, text = self._clocks.uptime(), f"daemon {self._notes.owner} {int(self._clocks.now())}"
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
            elif match[1] == self._notes.owner or int(match[2]) < self._clocks.now() - EXPIRE_SECONDS:
                await self._markers.take(text)
            else:
                alone = False
        if not own and self._text is not None:  # the node is another one, or somebody has removed its pins
            await self._markers.add(self._text)
            return False
        return alone
