"""``/events``: what happens, as it happens, for pages and scripts (server-sent events, WHATWG HTML, 9.2)."""

import json
import sqlite3
from collections import Counter, deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, TimeoutError
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from zope.interface import implementer

from ipfsreg.flow.signal import Signal
from ipfsreg.registry.events.event import Event, EventAction, as_json
from ipfsreg.registry.events.events import CHANGES, Events
from ipfsreg.registry.events.recent import History

from .errors import HttpError
from .gate import Entry, Filter, Gate
from .http.forwarded import TrustedProxies
from .http.request import Request
from .replies import parameter, reply
from .routes import Routes

HEARTBEAT_SECONDS = 15.0
"""How often something is sent where nothing happens, and it is looked again whether the asker may listen."""

QUEUE_MAX = 1000
"""Events that wait for one client. One that is further behind is sent away, and may come back."""

_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_PAGE = 50  # takes a millisecond or two
_LATER = {"Retry-After": 60}
_NUMBER_MAX = 18  # digits
_MISSED = b"event: missed\ndata: {}\n\n"


@dataclass(frozen=True, slots=True)
class EventStreams:
    """At most ``most`` listen at once. What they missed they are told from ``history``."""

    most: int
    history: History

    @property
    def most_of_client(self) -> int:
        """How many of them may come from one address or network: a fifth, and five in any case."""
        return max(self.most // 5, 5)


class EventRoutes:
    """The route, for clients that come and stay. ``clients`` are the proxies that say who they are."""

    def __init__(
        self, events: Events, streams: EventStreams, gate: Gate, clients: TrustedProxies, reactor: Any
    ) -> None:
        self._events = events
        self._streams = streams
        self._gate = gate
        self._reactor = reactor
        self._clients = clients
        self._listening: Counter[str] = Counter()

    def add_to(self, routes: Routes) -> None:
        """Add the route."""
        routes.add("/events", ["GET"], "events", self.events, Entry.ANYBODY)

    async def events(self, request: Request) -> bytes:
        """What happens in the repositories from which the asker may pull, until somebody ends it."""
        actions = _actions(parameter(request, "actions"))
        since = request.header("last-event-id") or parameter(request, "since") or ""
        number = int(since) if since.isascii() and since.isdigit() and len(since) <= _NUMBER_MAX else None
        client = self._clients.network_of(request)
        if self._listening[client] >= self._streams.most_of_client:
            raise HttpError(429, "TOOMANYREQUESTS", "you listen to events too often; end one", _LATER)
        if self._listening.total() >= self._streams.most:
            raise HttpError(503, "UNAVAILABLE", "too many clients listen to events; try again later", _LATER)
        reply(request, 200, _HEADERS)
        if request.method == b"HEAD":
            return b""
        stream = _Stream(request, self._gate, self._reactor)
        unsubscribe = self._events.subscribe(stream.tell, actions, stream.stopProducing)
        self._listening[client] += 1
        try:
            request.registerProducer(stream, True)
            request.end_with_client(stream.stopProducing)
            request.write(b"retry: 3000\n\n")
            if number is not None:
                await self._tell_again(stream, number, actions)
            await stream.run()
        finally:
            self._listening[client] -= 1
            self._listening += Counter()  # forgets those who have gone
            unsubscribe()
            request.unregisterProducer()
        return b""

    async def _tell_again(self, stream: "_Stream", number: int, actions: Collection[EventAction]) -> None:
        words, history = {action.value for action in actions}, self._streams.history
        try:
            if not await history.knows_all_after(number):
                await stream.write(_MISSED)
            while events := await history.after(number, _PAGE):
                for each in events:
                    number = each.number
                    if each.action in words:
                        document = json.loads(each.document)
                        await stream.send(number, each.action, document)
                if stream.ended:
                    return
                await deferLater(self._reactor, 0, lambda: None)
        except sqlite3.Error:
            return  # the log says so where it is written; what comes now can be told all the same


@implementer(IPushProducer)
class _Stream:
    """One client."""

    def __init__(self, request: Request, gate: Gate, reactor: Any) -> None:
        self.ended = False
        self._request = request
        self._gate = gate
        self._reactor = reactor
        self._queue: deque[Event] = deque()
        self._paused = False
        self._sent = 0
        self._changed = Signal()

    def tell(self, event: Event) -> None:
        """Something happened: see `Events`."""
        if len(self._queue) >= QUEUE_MAX:
            self.stopProducing()
        elif not self.ended:
            self._queue.append(event)
            self._changed.give()

    async def run(self) -> None:
        """Send what there is and comes, until it is ended."""
        while not self.ended:
            while self._queue and not self._paused and not self.ended:
                event = self._queue.popleft()
                if event.number > self._sent:
                    await self.send(event.number, event.action.value, event.document())
            if not await self._wait(HEARTBEAT_SECONDS) and await self._allowed() is not None and not self._paused:
                self._request.write(b":\n\n")

    async def write(self, content: bytes) -> None:
        """Send this when the client takes it."""
        await self._taken()
        if not self.ended:
            self._request.write(content)

    async def send(self, number: int, action: str, document: dict[str, Any]) -> None:
        """Send an event if the asker may pull from its repository, when the client takes it.

        Who did it is nobody's business who may only pull, nor is from where.
        """
        self._sent = max(self._sent, number)
        target = document["target"]
        await self._taken()
        may = await self._allowed()
        if may is None or not may(target["repository"]):
            return
        if not may(target.get("fromRepository", target["repository"])):
            del target["fromRepository"]
        target.pop("url", None)
        shown = {name: document[name] for name in ("id", "timestamp", "action", "target")}
        self._request.write(f"id: {number}\nevent: {action}\ndata: {as_json(shown)}\n\n".encode())

    async def _taken(self) -> None:
        """Wait until the client takes more, or is gone."""
        while self._paused and not self.ended:
            await self._wait(HEARTBEAT_SECONDS)

    async def _allowed(self) -> Filter | None:
        """From which repositories the asker may pull now; None where it may not listen any more, which ends it."""
        if not self.ended and not self._gate.knows(self._request, Entry.ANYBODY, None):
            try:
                await self._gate.admit(self._request, Entry.ANYBODY, None)
            except HttpError:  # a token has run out, or an account is gone
                self.stopProducing()
        return None if self.ended else self._gate.pulls(self._request)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._changed.give()

    def stopProducing(self) -> None:
        """See `IProducer`: the client is gone, or has to go."""
        self.ended = True
        self._queue.clear()
        self._changed.give()

    async def _wait(self, seconds: float) -> bool:
        """Wait for a change; False where there was none for so long."""
        if self.ended:
            return True
        try:
            await self._changed.wait().addTimeout(seconds, self._reactor)
        except (TimeoutError, CancelledError):
            return False
        return True


def _actions(text: str | None) -> frozenset[EventAction]:
    """The actions that are asked for. :raises HttpError: for a word that is none."""
    if text is None:
        return CHANGES
    known = {action.value: action for action in EventAction}
    words = text.split(",")[:8]
    if not words or not known.keys() >= set(words):
        raise HttpError(400, "UNSUPPORTED", f"actions is one or more of {', '.join(sorted(known))}, with commas")
    return frozenset(known[word] for word in words)
