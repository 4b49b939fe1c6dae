"""The bytes that one upload session received: a file on this disk, and their hash."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from twisted.internet.interfaces import IConsumer

from ipfsreg.flow.streams import ConsumerGone
from ipfsreg.registry.content.content_hash import ContentHash
from ipfsreg.registry.digest import Digest, new_hash

from .session_files import hash_file, open_to_append, settle_file
from .spool_writer import SpoolWriter, UploadEnvironment


class Spool:
    """The file of a session. ``received`` is how many of its bytes count.

    ``hash_`` is theirs, or None where they must be read again to know it.
    """

    def __init__(self, path: Path, environment: UploadEnvironment, received: int, hash_: ContentHash | None) -> None:
        self.path = path
        self.received = received
        self._environment = environment
        self._hash = hash_
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
        """
        environment = self._environment
        hash_ = (await self._known_hash()).copy()
        descriptor = await environment.workers.run(open_to_append, self.path, self.received, length)
        grown = None if environment.ahead is None else partial(environment.ahead.grown, self.path)
        writer = self._writer = SpoolWriter(environment, descriptor, self.received, hash_, grown)
        try:
            with suppress(ConsumerGone):  # the writer stopped its producer, and says why
                try:
                    yield writer
                finally:
                    await writer.close()
                    self._hash, self.received = writer.hash, writer.offset
            writer.check()
        finally:
            self._writer = None

    def stop_if_silent(self, seconds: float, why: Exception) -> None:
        """Let `appending` fail with ``why`` if nothing came for so long though it was wanted."""
        if self._writer is not None and self._writer.silent_for(seconds):
            self._writer.refuse(why)

    async def cut(self, length: int) -> None:
        """Forget what came after the first ``length`` bytes."""
        if length != self.received:
            self.received, self._hash = length, None
        self.forget_ahead()
        await self._environment.workers.run(os.truncate, self.path, length)

    async def digest(self, algorithm: str) -> Digest:
        """The digest of what was received."""
        if algorithm == "sha256":
            return Digest(algorithm, (await self._known_hash()).hexdigest())
        hash_ = await hash_file(self._environment.workers, self.path, new_hash(algorithm))
        return Digest(algorithm, hash_.hexdigest())

    async def leaves(self) -> bytes | None:
        """The hashes of its DAG's leaves, or None where the storage tells them later."""
        return (await self._known_hash()).leaves

    async def settle(self) -> None:
        """Make the file what is to be stored: nothing but what counts, and durable if the bucket needs that."""
        await self._environment.workers.run(settle_file, self.path, self.received, sync=self._environment.ahead is None)

    def forget_ahead(self) -> None:
        """What the bucket may have taken ahead is not to be stored, or not like this."""
        if self._environment.ahead is not None:
            self._environment.ahead.forget(self.path)

    async def _known_hash(self) -> ContentHash:
        if self._hash is None:
            self._hash = await hash_file(self._environment.workers, self.path, self._environment.new_hash())
        return self._hash
