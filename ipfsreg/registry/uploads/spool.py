"""The bytes that one upload session received: a file on this disk, and their hash."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from twisted.internet.interfaces import IConsumer
from twisted.logger import Logger

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.flow.streams import ConsumerGone
from ipfsreg.registry.content.content_hash import ContentHash
from ipfsreg.registry.digest import Digest, new_hash
from ipfsreg.registry.errors import UploadLost

from .session_files import FileState, H, cut_file, hash_file, look_at, open_to_append
from .spool_writer import SpoolWriter, UploadEnvironment
from .unfinished import Unfinished

P = ParamSpec("P")
T = TypeVar("T")


class Spool:
    """The file of a session. ``received`` is how many of its bytes count.

    They are read again where their hash is not known: those that an earlier daemon took in, and where somebody else has
    changed the file, which its state tells.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        environment: UploadEnvironment,
        received: int,
        unfinished: Unfinished,
    ) -> None:
        self.path = path
        self._unfinished = unfinished
        self.received = received
        self._environment = environment
        self._hash = None if received else environment.new_hash()
        self._state: FileState | None = None  # as it was left, or as it was before it was read for its hash
        self._writer: SpoolWriter | None = None

    @property
    def offset(self) -> int:
        """How many bytes are in the file now, also while more are coming."""
        return self.received if self._writer is None else self._writer.offset

    @asynccontextmanager
    async def appending(self, length: int | None) -> AsyncIterator[IConsumer]:
        """Take in the bytes that are written within the block; ``length`` is how many will come, if known.

        What came is kept if the block fails.

        :raises Full: before the block, where so many do not fit on the disk, or as soon as it is full.
        :raises ContentTooLarge: where more come than a blob may have.
        :raises UnfinishedTooLarge: where more come than there is room for.
        """
        environment = self._environment
        file = await self._in_thread(open_to_append, self.path, self.received, length, environment.form)
        try:
            self._is_as_left(file.before, file.after)
            hash_ = (await self._known_hash()).copy()
        except BaseException:
            os.close(file.descriptor)
            raise
        grown = None if environment.ahead is None else partial(environment.ahead.grown, self.path)
        writer = self._writer = SpoolWriter(environment, file, self.received, hash_, grown, self._unfinished)
        try:
            with suppress(ConsumerGone):  # the writer stopped its producer, and says why
                try:
                    yield writer
                finally:
                    await writer.close()
                    self._hash, self.received = writer.hash, writer.offset
                    self._unfinished.release(writer.accepted - writer.offset)  # what a failing disk did not take
            writer.check()
        finally:
            self._writer, self._state = None, writer.state
            if writer.altered:
                self._tell_altered()

    def stop_if_silent(self, seconds: float, why: Exception) -> None:
        """Let `appending` fail with ``why`` if nothing came for so long though it was wanted."""
        if self._writer is not None and self._writer.silent_for(seconds):
            self._writer.refuse(why)

    async def cut(self, length: int) -> None:
        """Forget what came after the first ``length`` bytes."""
        if length != self.received:
            self._unfinished.release(self.received - length)
            self.received, self._hash = length, None
        self.forget_ahead()
        self._is_as_left(*await self._in_thread(cut_file, self.path, length, self._environment.form))

    async def digest(self, algorithm: str) -> Digest:
        """The digest of what was received."""
        if algorithm == "sha256":
            return Digest(algorithm, (await self._known_hash()).hexdigest())
        return Digest(algorithm, (await self._read_anew(new_hash(algorithm))).hexdigest())

    async def leaves(self) -> bytes | None:
        """The hashes of its DAG's leaves, or None where the storage tells them later."""
        return (await self._known_hash()).leaves

    async def settle(self) -> bool:
        """Make the file what is to be stored: nothing but what counts, and durable if the bucket needs that.

        False where somebody has changed it since its hash was known: then that is to be asked again.
        """
        form = self._environment.form
        sync = self._environment.ahead is None and not form.bucket_finishes
        as_left = self._is_as_left(
            *await self._in_thread(partial(cut_file, self.path, self.received, form, sync=sync)),
        )
        if form.bucket_finishes:
            self._state = None  # it will have another one, should the bucket not take it after all
        return as_left

    def forget_ahead(self) -> None:
        """What the bucket may have taken ahead is not to be stored, or not like this."""
        if self._environment.ahead is not None:
            self._environment.ahead.forget(self.path)

    async def _known_hash(self) -> ContentHash:
        if self._hash is None:
            self._hash = await self._read_anew(self._environment.new_hash())
        return self._hash

    async def _read_anew(self, hash_: H) -> H:
        workers, form = self._environment.workers, self._environment.form
        if self._state is None:
            self._state = await workers.run(look_at, self.path)
        try:
            return await hash_file(workers, self.path, self.received, hash_, form)
        except Corrupt as error:
            raise _lost() from error

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._environment.workers.run(function, *args, **kwargs)
        except Corrupt as error:
            raise _lost() from error

    def _is_as_left(self, before: FileState, after: FileState) -> bool:
        """Whether nobody has changed the file but this, which found it in one state and leaves it in the other."""
        left, self._state = self._state, after
        if left is not None and left != before:
            self._tell_altered()
            return False
        if self._environment.form.content_length(before.size) < self.received:
            raise _lost()
        return True

    def _tell_altered(self) -> None:
        self._hash = None
        self.forget_ahead()
        self._log.error(
            "{path} was changed by somebody else while it was being uploaded; it is read anew", path=self.path
        )


def _lost() -> UploadLost:
    return UploadLost("some of what was received of this upload is lost; begin a new one")
