"""The changes of a bucket on a node: what waits becomes one batch, and each batch one commit."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import BucketError, Corrupt, Refused, Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER
from ipfsreg.bucket.kubo.node.markers import Markers
from ipfsreg.bucket.kubo.node.node import Node

from .changes import Change
from .commit import SLOWEST, Caution, Commit
from .first_state import make_first_state
from .notes import Notes
from .pins import Pins
from .presence import Clocks
from .register import Register
from .shown_folder import ShownFolder
from .signing import Signing

BATCH = 64
"""Changes in one batch at most."""

GATHER_SECONDS = 0.002
"""How long the first change of a batch waits for others."""

STOP_SECONDS = 1.0
"""How long what is under way may hold up a stop, so that it leaves nothing for others to wait for."""


class Commits:
    """See the module. ``register`` says which state counts; ``pins`` has what else is pinned."""

    _log = Logger()

    def __init__(
        self, node: Node, markers: Markers, notes: Notes, shown: ShownFolder, clocks: Clocks, signing: Signing
    ) -> None:
        self.pins = Pins(node, notes, clocks.reactor)
        first = partial(make_first_state, node, self.pins, notes, shown)
        self.register = Register(node, markers, self.pins, first, notes, clocks)
        self.caution = Caution(clocks.reactor)
        self._node = node
        self._notes = notes
        self._shown = shown
        self._signing = signing
        self._reactor = clocks.reactor
        self._queue: list[Change] = []
        self._waiting: dict[Change, Deferred[None]] = {}
        """Whom to tell of each change that was not answered yet."""
        self._running: Deferred[None] | None = None
        self._stopped = False

    async def open(self) -> None:
        """Find the state that counts, or make the first one.

        :raises BucketError: where the node does not let us.
        """
        await self._notes.read()
        if self._notes.lease is not None:
            self.register.resume(self._notes.lease)
        state = await self.register.current()
        await self._notes.begin(state)
        self._shown.show(state.root)
        with suppress(BucketError):  # reading does not need it, and a change tries again
            await self.register.presence.join()

    async def stop(self) -> None:
        """Give up what waits, and soon what is under way."""
        self._stopped = True
        self.pins.stop()
        queue, self._queue = self._queue, []
        self._fail(queue, _stopping())
        if self._running is not None:
            with suppress(TimeoutError):
                await self._running.addTimeout(STOP_SECONDS, self._reactor)
        with suppress(BucketError, TimeoutError):
            await Deferred.fromCoroutine(self.register.presence.end()).addTimeout(STOP_SECONDS, self._reactor)
        await self._notes.file.written()

    def change(self, change: Change) -> "Deferred[None]":
        """Have a change made in the next batch; fires when it is durable.

        Where that takes too long it is `Unavailable`, and may still be made later.
        """
        done: Deferred[None] = Deferred()
        if self._stopped:
            done.errback(_stopping())
            return done
        self._queue.append(change)
        self._waiting[change] = done
        seconds = 2 * self._node.content.timeout + change.size / SLOWEST
        late = self._reactor.callLater(seconds, self._late, change)

        def ended(result: None | Failure) -> None | Failure:
            if late.active():
                late.cancel()
            return result

        done.addBoth(ended)
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._run())
            self._running.addBoth(self._ended)
        return done

    def _late(self, change: Change) -> None:
        if change in self._queue:
            self._queue.remove(change)
        self._fail([change], Failure(Unavailable("the node does not answer in time", RETRY_AFTER)))

    async def _run(self) -> None:
        while self._queue:
            await deferLater(self._reactor, GATHER_SECONDS, lambda: None)
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            try:
                failed = await self._committed(batch)
            except BaseException:
                self._fail(batch, _stopping())
                raise
            self.register.look_anew()
            self._tell(batch, failed)

    def _ended(self, result: None | Failure) -> None:
        self._running = None
        if isinstance(result, Failure) and not result.check(CancelledError):
            self._log.failure("A change of the bucket ended in an unforeseen way", result)
        queue, self._queue = self._queue, []
        self._fail(queue, _stopping())

    async def _committed(self, batch: Sequence[Change]) -> Mapping[Change, Failure]:
        """Commit a batch; what could not be made."""
        commit = Commit(batch, self._node, self.register, self._notes, self.caution, self._signing)
        try:
            self._shown.show((await commit.run()).root)
            return commit.failed
        except (Corrupt, Refused) as error:
            if len(batch) == 1:
                return {batch[0]: Failure(error)}
        except BucketError as error:
            return dict.fromkeys(batch, Failure(error))
        # One of them cannot be made, which is no concern of the others.
        failed: dict[Change, Failure] = {}
        for change in batch:
            failed |= await self._committed([change])
        return failed

    def _tell(self, batch: Iterable[Change], failed: Mapping[Change, Failure]) -> None:
        for change in batch:
            done = self._waiting.pop(change, None)
            if done is not None:
                done.callback(failed.get(change))

    def _fail(self, batch: Iterable[Change], failure: Failure) -> None:
        batch = list(batch)
        self._tell(batch, dict.fromkeys(batch, failure))


def _stopping() -> Failure:
    return Failure(Unavailable("the daemon is stopping"))
