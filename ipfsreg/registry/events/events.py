"""The one place where everything that happens to repositories is told, to everybody who wants to know."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .event import Event, EventAction, Origin, Target

NOTED_SECONDS = 2.0
"""For how long what changed a repository waits at most until its event is written down."""

Listener = Callable[[Event], "Deferred[None] | None"]
"""Is called in the reactor and returns soon. A Deferred fires when the event would outlive the daemon."""

EVERYTHING = frozenset(EventAction)
CHANGES = EVERYTHING - {EventAction.PULL}


@dataclass(eq=False, slots=True)
class _Subscription:
    listener: Listener
    ended: Callable[[], None] | None


class Events:
    """Pulls are told as well, and nothing is made of one unless somebody listens: see `wants`."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, now: Callable[[], float]) -> None:
        self._clock = clock
        self._now = now
        self._last = 0
        self._listening: dict[EventAction, list[_Subscription]] = {action: [] for action in EventAction}

    def subscribe(
        self,
        listener: Listener,
        actions: Collection[EventAction] = EVERYTHING,
        ended: Callable[[], None] | None = None,
    ) -> Callable[[], None]:
        """Tell a listener of what happens from now on. ``ended`` is called when the daemon is about to stop.

        What is returned ends it; so it does when it is called twice.
        """
        subscription = _Subscription(listener, ended)
        for action in actions:
            self._listening[action].append(subscription)
        return lambda: self._unsubscribe(subscription)

    def wants(self, action: EventAction) -> bool:
        """Whether anybody listens to this."""
        return bool(self._listening[action])

    def newest(self) -> int:
        """A number that is not smaller than those of all events until now, and smaller than those of all to come."""
        return max(self._last, int(self._now() * 1e6) - 1)

    def after(self, number: int) -> None:
        """Have the numbers of all events be larger."""
        self._last = max(self._last, number)

    def pulled(self, target: Target, origin: Origin) -> None:
        """Tell of a pull. It costs no more than the listeners do."""
        for _ in self._tell(EventAction.PULL, target, origin):
            pass

    async def changed(self, action: EventAction, target: Target, origin: Origin) -> None:
        """Tell of what is durable by now.

        It returns when the event is written down where that is wanted, so that who is told of the change can rely on
        the event; and after `NOTED_SECONDS` in any case, for no disk and no listener may hold up a push.
        """
        noting = [each for each in self._tell(action, target, origin) if each is not None and not each.called]
        if not noting:
            return
        try:
            await DeferredList(noting, consumeErrors=True).addTimeout(NOTED_SECONDS, self._clock)
        except TimeoutError:
            self._log.warn("An event was not written down within {seconds:g} s.", seconds=NOTED_SECONDS)

    def end(self) -> None:
        """The daemon is about to stop: listeners that are clients have to go. Others still hear of what comes."""
        subscriptions = {each for listening in self._listening.values() for each in listening}
        for each in subscriptions:
            if each.ended is not None:
                self._unsubscribe(each)
                each.ended()

    def _tell(self, action: EventAction, target: Target, origin: Origin) -> "list[Deferred[None] | None]":
        listening = self._listening[action]
        if not listening:
            return []
        at = self._now()
        # By the time of day, so that they grow over restarts too; and by one where that was set back.
        self._last = max(self._last + 1, int(at * 1e6))
        event = Event(self._last, at, action, target, origin)
        noting = []
        for each in tuple(listening):
            try:
                noting.append(each.listener(event))
            except Exception:
                self._log.failure("A listener failed at an event")
        return noting

    def _unsubscribe(self, subscription: _Subscription) -> None:
        for listening in self._listening.values():
            if subscription in listening:
                listening.remove(subscription)
