"""An upload session in whatever order its requests come, and whatever fails: it is always in a state of the table."""

import hashlib
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any, cast

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.spool_format import PLAIN_SPOOL
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import (
    ContentTooLarge,
    DigestInvalid,
    SizeInvalid,
    UploadBusy,
    UploadInvalid,
    UploadOutOfOrder,
    UploadUnknown,
)
from ipfsreg.registry.names import Repository
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.registry.uploads.session_files import UploadIdentity, new_session
from ipfsreg.registry.uploads.spool_writer import UploadEnvironment
from ipfsreg.registry.uploads.upload import SILENT_SECONDS, TURN_SECONDS, Upload, UploadState
from tests.registry.place import append

from .uploading import never

LIMIT = 100_000
REPOSITORY = Repository("app")
RESTING = {UploadState.IDLE, UploadState.STORED}


class Gone(Exception):
    """The client went away."""


class Inline(Workers):
    """Threads that are done at once."""

    def __init__(self) -> None:
        pass

    def run(self, function: Any, *args: Any, **kwargs: Any) -> "Deferred[Any]":
        return maybeDeferred(function, *args, **kwargs)


class Storage:
    """The blobs of a repository. ``fails`` is where the next call does: before it took the content, or after."""

    def __init__(self) -> None:
        self.fails: str | None = None
        self.content: dict[Digest, bytes] = {}
        self.linked: set[Digest] = set()

    async def check_room(self, repository: Repository, digest: Digest | None, size: int) -> None:
        """There is."""

    async def add_file(self, repository: Repository, digest: Digest, source: Path, size: int, leaves: object) -> None:
        self._fail("before")
        self.content[digest] = source.read_bytes()
        source.unlink()
        assert len(self.content[digest]) == size
        self._fail("after")
        self.linked.add(digest)

    async def link(self, repository: Repository, digest: Digest, size: int, leaves: object) -> bool:
        self._fail("before")
        if digest not in self.content:
            return False
        self.linked.add(digest)
        return True

    def _fail(self, when: str) -> None:
        if self.fails == when:
            self.fails = None
            raise Unavailable("away")


def outcome(work: Any) -> "list[Any]":
    """What a coroutine answered; nothing while it waits."""
    found: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(found.append)
    return found


def fails(work: Any, *errors: type[Exception]) -> None:
    (failure,) = outcome(work)
    assert failure.check(*errors), failure


async def complete(
    upload: Upload, digest: Digest, send: Callable[[IConsumer], Awaitable[object]], length: int | None = None
) -> None:
    async with upload.completing(digest, length) as consumer:
        await send(consumer)


class Machine(RuleBasedStateMachine):
    """One session after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(mkdtemp())
        self.clock = Clock()
        self.storage = Storage()
        self.random = Random(1)
        self.environment = UploadEnvironment(cast(Blobs, self.storage), Inline(), self.clock, LIMIT)
        self.ended: list[Upload] = []
        self.count = 0
        self.begin()

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    def begin(self) -> None:
        self.count += 1
        self.content = b""
        self.model = UploadState.IDLE
        self.identity = UploadIdentity(str(self.count), REPOSITORY, self.directory / str(self.count))
        new_session(self.identity, PLAIN_SPOOL)
        self.upload = self.open()

    def open(self, received: int = 0) -> Upload:
        return Upload(self.identity, self.environment, self.ended.append, received=received, last_used=0.0)

    def bytes_to_send(self, length: int) -> bytes:
        return self.random.randbytes(length)

    @invariant()
    def is_as_the_model(self) -> None:
        assert self.upload.state is self.model
        assert not self.upload.busy
        there = (self.directory / str(self.count)).exists()
        assert there == (self.model is not UploadState.ENDED)
        assert (self.upload in self.ended) == (self.model is UploadState.ENDED)
        if self.model is UploadState.IDLE:
            assert self.upload.received == self.upload.offset == len(self.content)
            assert self.upload.data.read_bytes()[: len(self.content)] == self.content

    @precondition(lambda self: self.model is UploadState.ENDED)
    @rule()
    def ended_is_the_end(self) -> None:
        fails(append(self.upload, never), UploadUnknown)
        fails(self.upload.commit(digest_of(b"")), UploadUnknown)
        assert outcome(self.upload.cancel()) == [None]
        self.begin()

    @precondition(lambda self: self.model is UploadState.IDLE)
    @rule(length=st.integers(0, 30_000), ranged=st.booleans(), said=st.booleans())
    def append(self, length: int, ranged: bool, said: bool) -> None:
        sent, begin = self.bytes_to_send(length), len(self.content)
        ranged = ranged and length > 0

        async def send(consumer: IConsumer) -> None:
            assert self.upload.state is UploadState.APPENDING
            consumer.write(sent[: length // 2])
            fails(append(self.upload, never), UploadBusy)
            fails(self.upload.commit(digest_of(b"")), UploadBusy)
            fails(self.upload.cancel(), UploadBusy)
            consumer.write(sent[length // 2 :])

        content_range = (begin, begin + length - 1) if ranged else None
        if begin + length > LIMIT:
            known = ranged or said
            fails(
                append(self.upload, never if known else send, length if said else None, content_range), ContentTooLarge
            )
            if not known:
                self.model = UploadState.ENDED
            return
        assert outcome(append(self.upload, send, length if said else None, content_range)) == [None]
        self.content += sent

    @precondition(lambda self: self.model is UploadState.IDLE)
    @rule(length=st.integers(1, 30_000), other=st.integers(-1, 1))
    def append_what_was_not_announced(self, length: int, other: int) -> None:
        begin = len(self.content)
        if begin + length + 1 > LIMIT:
            return

        async def send(consumer: IConsumer) -> None:
            consumer.write(self.bytes_to_send(length + other))

        if other:
            fails(append(self.upload, send, None, (begin, begin + length - 1)), SizeInvalid)
            fails(append(self.upload, never, length + other, (begin, begin + length - 1)), SizeInvalid)
            fails(append(self.upload, never, length, (begin + other, begin + other + length - 1)), UploadOutOfOrder)
        fails(append(self.upload, never, None, (begin + 1, begin)), UploadOutOfOrder)

    @precondition(lambda self: self.model is UploadState.IDLE)
    @rule(length=st.integers(0, 1000))
    def a_client_that_goes_away(self, length: int) -> None:
        sent = self.bytes_to_send(min(length, LIMIT - len(self.content)))

        async def send(consumer: IConsumer) -> None:
            consumer.write(sent)
            raise Gone

        fails(append(self.upload, send), Gone)
        self.content += sent

    @precondition(lambda self: self.model is UploadState.IDLE)
    @rule(silent=st.booleans())
    def a_client_that_hangs(self, silent: bool) -> None:
        """The next request waits for it, and takes over if nothing came for long."""
        going_on: Deferred[None] = Deferred()

        class Body:
            def pauseProducing(self) -> None:
                pass

            def resumeProducing(self) -> None:
                pass

            def stopProducing(self) -> None:
                going_on.errback(Gone())

        async def send(consumer: IConsumer) -> None:
            consumer.registerProducer(cast(Any, Body()), True)
            await going_on

        first = outcome(append(self.upload, send))
        assert not first
        self.clock.advance(SILENT_SECONDS if silent else SILENT_SECONDS / 2)
        waiting = outcome(self.upload.turn())
        if silent:
            assert waiting == [None]
            assert first[0].check(Gone, UploadBusy)
            return
        assert not waiting
        self.clock.advance(TURN_SECONDS)
        assert waiting == [None]
        fails(append(self.upload, never), UploadBusy)
        waiting = outcome(self.upload.turn())
        going_on.callback(None)
        assert waiting == first == [None]

    @precondition(lambda self: self.model is UploadState.IDLE)
    @rule()
    def a_new_daemon(self) -> None:
        self.upload = self.open(self.upload.data.stat().st_size)

    @precondition(lambda self: self.model in RESTING)
    @rule()
    def cancel(self) -> None:
        assert outcome(self.upload.cancel()) == [None]
        self.model = UploadState.ENDED

    @precondition(lambda self: self.model is UploadState.IDLE)
    @rule(failing=st.sampled_from([None, "before", "after"]), algorithm=st.sampled_from(["sha256", "sha512"]))
    def commit(self, failing: str | None, algorithm: str) -> None:
        self.digest = Digest(algorithm, hashlib.new(algorithm, self.content).hexdigest())
        self.storage.fails = failing
        if failing is not None:
            fails(self.upload.commit(self.digest), Unavailable)
            self.model = UploadState.STORED if failing == "after" else UploadState.IDLE
            return
        assert outcome(self.upload.commit(self.digest)) == [None]
        self.model = UploadState.ENDED
        assert self.digest in self.storage.linked
        assert self.storage.content[self.digest] == self.content

    @precondition(lambda self: self.model is UploadState.IDLE)
    @rule(length=st.integers(0, 30_000), failing=st.booleans())
    def commit_with_the_last_bytes(self, length: int, failing: bool) -> None:
        """Who waits for a turn meanwhile has it when the session has ended, or has failed."""
        sent = self.bytes_to_send(min(length, LIMIT - len(self.content)))
        self.digest = digest_of(self.content + sent)
        self.storage.fails = "before" if failing else None
        waiting: list[list[Any]] = []

        async def send(consumer: IConsumer) -> None:
            consumer.write(sent)
            waiting.append(outcome(self.take_turn()))
            fails(self.upload.commit(digest_of(b"")), UploadBusy)

        committed = outcome(complete(self.upload, self.digest, send, len(sent)))
        self.content += sent
        self.model = UploadState.IDLE if failing else UploadState.ENDED
        assert waiting == [[self.model]]
        assert committed == [None] if not failing else committed[0].check(Unavailable)

    async def take_turn(self) -> UploadState:
        await self.upload.turn()
        return self.upload.state

    @precondition(lambda self: self.model is UploadState.STORED)
    @rule(lost=st.sampled_from([None, "content", "storage", "digest"]))
    def commit_again(self, lost: str | None) -> None:
        if lost == "content":
            del self.storage.content[self.digest]
        self.storage.fails = "before" if lost == "storage" else None
        if lost == "storage":
            fails(self.upload.commit(self.digest), Unavailable)
            return
        if lost is not None:
            fails(self.upload.commit(digest_of(b"other") if lost == "digest" else self.digest), UploadInvalid)
        else:
            assert outcome(self.upload.commit(self.digest)) == [None]
            assert self.digest in self.storage.linked
        self.model = UploadState.ENDED

    @precondition(lambda self: self.model is UploadState.STORED)
    @rule()
    def append_to_what_is_stored(self) -> None:
        fails(append(self.upload, never), UploadOutOfOrder)
        fails(complete(self.upload, self.digest, never), UploadOutOfOrder)

    @precondition(lambda self: self.model is UploadState.IDLE)
    @rule()
    def commit_something_else(self) -> None:
        fails(self.upload.commit(digest_of(self.content + b"x")), DigestInvalid)
        self.model = UploadState.ENDED


TestUploadStates = pytest.mark.timeout(120)(Machine.TestCase)
