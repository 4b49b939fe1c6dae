"""Storing over what has not changed meanwhile."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet.defer import Deferred, ensureDeferred

from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.wrapper import BucketWrapper

Replace = Callable[[str, str, bytes | Path], Awaitable[bool]]
"""See `Opened.replace`."""


class ReplacingBucket(BucketWrapper):
    """A bucket in which what is stored replaces a file only while it has a CID; else nothing happens."""

    def __init__(self, bucket: IBucket, replace: Replace, cid: str) -> None:
        super().__init__(bucket)
        self._replace = replace
        self._cid = cid

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return ensureDeferred(self._store(path, content))

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        """See `IBucket.put_file`; but the source stays."""
        return ensureDeferred(self._store(path, source))

    async def _store(self, path: str, content: bytes | Path) -> None:
        await self._replace(path, self._cid, content)
