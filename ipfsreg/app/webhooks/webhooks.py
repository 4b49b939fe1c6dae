"""Events are sent to other programs, in the format of Docker's registry notifications."""

import hashlib
import hmac
import sqlite3
from collections.abc import Sequence
from typing import Any

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from ipfsreg.app.posting import NotTaken, Poster
from ipfsreg.config.webhook_options import WebhookEndpoint, WebhookOptions
from ipfsreg.flow.signal import Signal
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.events.event import ENVELOPE, LoggedEvent, envelope
from ipfsreg.registry.events.event_log import EventLog

from .counts import EventCounts, WebhookCounts
from .secret import read_secret

SIGNATURE = "X-Hub-Signature-256"
"""The header with the HMAC of the content, as GitHub's webhooks have it, so that receivers know it."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds between two attempts, the pause growing to the second of these."""

_BATCH = 50  # events in one POST


class Webhooks:
    """Sends what an `EventLog` has to the endpoints, each at its own pace and in order. A `Watcher`.

    What an endpoint has not answered with 2xx is sent again, until it falls out of the log. So an event may come
    twice, after a kill for example; its ``id`` stays the same.
    """

    def __init__(self, options: WebhookOptions, log: EventLog, workers: Workers, reactor: Any) -> None:
        poster = Poster(reactor)
        self._workers = workers
        self.log = log
        self.endpoints = [Sender(each, options.timeout, log, poster, reactor) for each in options.endpoints]
        log.when_appended(self._wake)

    async def counts(self) -> EventCounts:
        """What became of events. :raises sqlite3.Error:"""
        waiting, lost = await self.log.waiting_for(), self.log.lost
        hooks = [
            WebhookCounts(name, each.sent, each.failures, lost.get(name, 0), waiting.get(name, 0))
            for name, each in ((each.endpoint.name, each) for each in self.endpoints)
        ]
        return EventCounts(hooks, self.log.not_written)

    async def start(self) -> None:
        for each in self.endpoints:
            secret = each.endpoint.secret
            each.key = None if secret is None else await self._workers.run(read_secret, each.endpoint.name, secret)
        for each in self.endpoints:
            each.start()

    async def stop(self) -> None:
        """See `Watcher`. What was not sent is sent after the next start."""
        for each in self.endpoints:
            await each.stop()

    def _wake(self) -> None:
        for each in self.endpoints:
            each.wake()


class Sender:
    """Sends to one endpoint."""

    _log = Logger()

    def __init__(self, endpoint: WebhookEndpoint, timeout: float, log: EventLog, poster: Poster, reactor: Any) -> None:
        self.endpoint = endpoint
        self.key: bytes | None = None
        self.sent = 0
        """Events that it has taken since the start."""
        self.failures = 0
        """Attempts that failed since the start."""
        self._events = log
        self._timeout = timeout
        self._poster = poster
        self._stopped = False
        self._reactor = reactor
        self._pause = backoffPolicy(FIRST_PAUSE, LONGEST_PAUSE)
        self._tries = 0
        self._more = Signal()
        self._behind = True
        self._running: Deferred[None] | None = None
        self._told: str | None = None

    def start(self) -> None:
        """Send what there is."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._broken)

    async def stop(self) -> None:
        """Give up what is under way."""
        if self._running is not None:
            self._stopped = True
            self._running.cancel()
            await self._running

    def wake(self) -> None:
        """There is more."""
        self._behind = True
        self._more.give()

    async def _run(self) -> None:
        while True:
            try:
                while self._behind:
                    self._behind = False
                    await self._send_all()
            except (NotTaken, sqlite3.Error) as error:
                self.failures += 1
                self._behind = True
                self._tell(error)
                await deferLater(self._reactor, self._pause(self._tries), lambda: None)
                self._tries += 1
                continue
            await self._more.wait()

    async def _send_all(self) -> None:
        # Read anew for each attempt: what waits for long may have fallen out of the log.
        position = await self._events.position(self.endpoint.name)
        while events := await self._events.after(position, _BATCH):
            wanted = [each for each in events if not {each.action, each.media_type} & self.endpoint.ignored]
            if wanted:
                await self._post(wanted)
                self.sent += len(wanted)
            position = events[-1].number
            await self._events.move(self.endpoint.name, position)
            self._tries = 0
            if self._told is not None and wanted:
                self._log.info("The webhook {name} takes events again.", name=self.endpoint.name)
                self._told = None

    async def _post(self, events: Sequence[LoggedEvent]) -> None:
        content = envelope([each.document for each in events])
        headers = Headers({"Content-Type": [ENVELOPE], "User-Agent": ["ipfsreg"]})
        if self.key is not None:
            signature = hmac.new(self.key, content, hashlib.sha256).hexdigest()
            headers.addRawHeader(SIGNATURE, f"sha256={signature}")
        try:
            await self._poster.post(self.endpoint.url, content, headers, self._timeout)
        except NotTaken:
            if self._stopped:
                raise CancelledError from None
            raise

    def _tell(self, error: Exception) -> None:
        if str(error) != self._told:
            self._told = str(error)
            self._log.warn(
                "The webhook {name} does not take events: {error}. They are kept, and sent again.",
                name=self.endpoint.name,
                error=error,
            )

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("The webhook {name} has ended", failure, name=self.endpoint.name)
