"""The last events in memory: where no log of events is kept, who comes back to `/events` reads on from here."""

from collections import deque
from collections.abc import Collection, Sequence
from typing import Protocol

from .event import Event, EventAction, LoggedEvent
from .events import Events

RECENT_MAX = 1000
"""How many are kept."""


class History(Protocol):
    """Events that have happened."""

    async def after(self, number: int, most: int) -> Sequence[LoggedEvent]:
        """The events that follow a number, at most so many. :raises sqlite3.Error: where it is on a disk."""

    async def knows_all_after(self, number: int) -> bool:
        """Whether `after` leaves out none that follows a number. :raises sqlite3.Error: where it is on a disk."""


class RecentEvents:
    """A `History` of the last `RECENT_MAX` events of some ``actions``, since it was made."""

    def __init__(self, events: Events, actions: Collection[EventAction]) -> None:
        self._kept: deque[Event] = deque()
        self._forgotten = events.newest()
        events.subscribe(self._keep, actions)

    async def after(self, number: int, most: int) -> Sequence[LoggedEvent]:
        found: list[Event] = []
        for event in reversed(self._kept):
            if event.number <= number:
                break
            found.append(event)
        return [LoggedEvent.of(event) for event in found[: -most - 1 : -1]]

    async def knows_all_after(self, number: int) -> bool:
        return number >= self._forgotten

    def _keep(self, event: Event) -> None:
        if len(self._kept) == RECENT_MAX:
            self._forgotten = self._kept.popleft().number
        self._kept.append(event)
