"""An encrypted bucket over any storage that is held to the contract."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from ipfsreg.bucket.encrypted.bucket import EncryptedBucket
from ipfsreg.bucket.encrypted.spool import SealedSpool
from ipfsreg.bucket.interface import IBucket
from ipfsreg.encryption.keyring import KeyringSource
from ipfsreg.flow.workers import Workers
from tests.bucket.running import reactor
from tests.bucket.storage import Storage

from .keys import FIXED, own_key


class EncryptedStorage(Storage):
    """``below`` is the storage, started; ``spool`` is the form of the files that come from uploads."""

    def __init__(self, below: Storage, directory: Path, keys: KeyringSource = FIXED, *, at_end: bool = False) -> None:
        self.below = below
        self.no_file = below.no_file
        self.workers = Workers(reactor, 4)
        self.workers.startService()
        self.keys = keys
        self.spool = SealedSpool(lambda: own_key(keys), keys, at_end=at_end)
        self._directory = directory
        self.bucket = self.over(below.bucket)

    def over(self, bucket: IBucket) -> EncryptedBucket:
        """An encrypted bucket on another one."""
        return EncryptedBucket(bucket, self.keys, self.spool, self.workers, self._directory / "moved")

    def spooled(self, content: bytes) -> Path:
        return self.below.spooled(content)

    async def reopened(self) -> IBucket:
        self.bucket = self.over(await self.below.reopened())
        return self.bucket

    def outage(self) -> AbstractAsyncContextManager[None]:
        return self.below.outage()

    async def close(self) -> None:
        await self.below.close()
        self.workers.stopService()


async def encrypted(below: Storage, directory: Path) -> AsyncIterator[Storage]:
    """For a fixture: the storage is closed with it."""
    storage = EncryptedStorage(below, directory)
    yield storage
    await storage.close()
