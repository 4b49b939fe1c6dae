"""The log of events as a part of the daemon."""

from collections.abc import Callable, Collection

from ipfsreg.registry.events.event import EventAction
from ipfsreg.registry.events.event_log import EventLog
from ipfsreg.registry.events.events import Events


class EventLogging:
    """A `Watcher` that writes down what happens, from the start on: of that the ``actions``."""

    def __init__(self, log: EventLog, events: Events, actions: Collection[EventAction]) -> None:
        self.log = log
        self._events = events
        self._actions = actions
        self._unsubscribe: Callable[[], None] = lambda: None

    async def start(self) -> None:
        self._events.after(await self.log.open())
        self._unsubscribe = self._events.subscribe(self.log.append, self._actions)

    async def stop(self) -> None:
        self._unsubscribe()
        await self.log.close()
