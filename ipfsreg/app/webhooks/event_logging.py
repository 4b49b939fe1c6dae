"""The log of events as a part of the daemon."""

from collections.abc import Callable

from ipfsreg.registry.events.event_log import EventLog
from ipfsreg.registry.events.events import Events


class EventLogging:
    """A `Watcher` that writes down what happens, from the start on."""

    def __init__(self, log: EventLog, events: Events) -> None:
        self.log = log
        self._events = events
        self._unsubscribe: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """See `Watcher`."""
        self._events.after(await self.log.open())
        self._unsubscribe = self._events.subscribe(self.log.append)

    async def stop(self) -> None:
        """See `Watcher`."""
        self._unsubscribe()
        await self.log.close()
