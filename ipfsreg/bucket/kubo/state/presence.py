"""The markers by which daemons know of each other, as long as they change the bucket.

Each holds the time at which it was put up. It is put up anew now and then, so that what is left of a daemon that was
killed does not count for long.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER
from ipfsreg.bucket.kubo.node.markers import Markers

from .notes import Notes

RENEW_SECONDS = 600.0
"""How often a daemon says anew that it is there."""

EXPIRE_SECONDS = 3 * RENEW_SECONDS
"""A daemon whose marker is older counts as gone; the clocks of daemons differ by much less."""

LAPSE_SECONDS = EXPIRE_SECONDS / 2
"""A daemon whose marker is older has to join anew: others may soon count it as gone."""

COLLECTING_SECONDS = 600.0
"""How long a ``collecting`` marker counts."""

CERTAIN_SECONDS = 60.0
"""How long after its last look a collecting daemon may believe that nobody came. Its marker is put up anew as often.

Together with the longest commit this is much less than `COLLECTING_SECONDS`.
"""

_TEXT = re.compile(r"daemon ([0-9a-f]+) ([0-9]{1,12})")
_COLLECTING = re.compile(r"collecting ([0-9a-f]+) ([0-9]{1,12})")


def _uptime() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Clocks:
    """The clocks that daemons on one bucket go by. ``reactor`` is for what this daemon waits for.

    ``uptime`` is for what others wait for: seconds that go on while the machine sleeps, whatever becomes of its clock.
    ``now`` is the time of day in seconds, by which states are numbered; it may differ between machines.
    """

    reactor: Any
    uptime: Callable[[], float] = _uptime
    now: Callable[[], float] = time.time


class Presence:
    """Whether this daemon is there, and any other.

    A daemon may collect garbage by itself while no other one is there. Each puts up its marker before it looks for
    those of others: a collecting daemon its ``collecting`` marker, a daemon that comes its ``daemon`` marker. So at
    least one of them sees the other. The daemon that comes waits until the collection has ended, and what it has read
    before does not count.
    """

    def __init__(self, markers: Markers, notes: Notes, clocks: Clocks) -> None:
        self._markers = markers
        self._notes = notes
        self._clocks = clocks
        self._text: str | None = None
        self._said = 0.0
        self._joined = False
        self._others_seen: float | None = None
        self._collecting: str | None = None
        self._said_collecting = 0.0
        self._looked = 0.0

    async def join(self) -> None:
        """Say that it is there, before anything is read that a change will rely on.

        :raises Unavailable: while another daemon collects garbage.
        """
        await self.begin()
        for text in await self._markers.all():
            match = _COLLECTING.fullmatch(text)
            if match is None or text == self._collecting:
                continue
            if match[1] != self._notes.owner and int(match[2]) >= self._clocks.now() - COLLECTING_SECONDS:
                raise Unavailable("another daemon collects garbage just now", RETRY_AFTER)
            await self._markers.take(text)
        self._joined = True

    async def check_joined(self) -> None:
        """Join now, if that was not done, or too long ago.

        :raises Unavailable: where that was so: what was read before may not be so any more.
        """
        await self.begin()
        if not self._joined:
            await self.join()
            raise Unavailable("this daemon has just joined others at its bucket", RETRY_AFTER)

    async def begin(self) -> None:
        """Say that it is there, unless that was said lately. It is there before it takes anything."""
        if self._text is None or self._clocks.uptime() - self._said > RENEW_SECONDS:
            await self._say()

    async def renew(self) -> None:
        """Say it anew, where it was said before, and look for others."""
        if self._text is not None:
            await self._say()
            await self.is_alone()

    async def _say(self) -> None:
        said, text = self._clocks.uptime(), f"daemon {self._notes.owner} {int(self._clocks.now())}"
        if said - self._said > LAPSE_SECONDS:
            self._joined = False
        if text != self._text:
            await self._markers.add(text)
            before, self._text, self._said = self._text, text, said
            if before is not None:
                await self._markers.take(before)

    async def end(self) -> None:
        """Say that it is not there any more."""
        if self._collecting is not None:
            await self._markers.take(self._collecting)
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
                self._others_seen = self._clocks.uptime()
        if not own and self._text is not None:  # the node is another one, or somebody has removed its pins
            await self._markers.add(self._text)
            return False
        return alone

    async def begin_collecting(self, quiet: float) -> bool:
        """See `Exclusion.begin`."""
        await self.join()
        await self._say_collecting()
        alone, now = await self.is_alone(), self._clocks.uptime()
        if alone and (self._others_seen is None or now - self._others_seen >= quiet):
            self._looked = now
            return True
        await self.end_collecting()
        return False

    async def look_while_collecting(self) -> None:
        """See `Exclusion.look`."""
        if self.may_collect:
            began = self._clocks.uptime()
            if began - self._said_collecting > CERTAIN_SECONDS:
                await self._say_collecting()
            self._looked = began if await self.is_alone() else -CERTAIN_SECONDS

    @property
    def may_collect(self) -> bool:
        """See `Exclusion.holds`."""
        return self._collecting is not None and self._clocks.uptime() - self._looked < CERTAIN_SECONDS

    async def end_collecting(self) -> None:
        """See `Exclusion.end`."""
        before, self._collecting = self._collecting, None
        if before is not None:
            await self._markers.take(before)

    async def _say_collecting(self) -> None:
        text = f"collecting {self._notes.owner} {int(self._clocks.now())}"
        self._said_collecting = self._clocks.uptime()
        if text != self._collecting:
            await self._markers.add(text)
            before, self._collecting = self._collecting, text
            if before is not None:
                await self._markers.take(before)
