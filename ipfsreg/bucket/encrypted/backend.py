"""How a backend becomes one whose bucket is encrypted."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.gate import GatedBucket
from ipfsreg.bucket.opened import Opened
from ipfsreg.encryption.keyring import KeyringSource
from ipfsreg.encryption.member_key import MemberKey
from ipfsreg.flow.workers import Workers

from .bucket import EncryptedBucket
from .spool import SealedSpool

DOCUMENTS = "encryption"
"""The directory at the top of the bucket that is not encrypted: what it is, and its members (docs/encryption.md)."""


class OpenedByKeys(GatedBucket):
    """An encrypted bucket that is used once its keys are known."""

    def __init__(self, bucket: EncryptedBucket, open_keys: Callable[[], Awaitable[None]]) -> None:
        super().__init__(bucket, lambda _: open_keys())
        self._encrypted = bucket

    async def seal_again(self, path: str, *, reencrypt: bool) -> int:
        """See `EncryptedBucket.seal_again`."""
        await self.passed()
        return await self._encrypted.seal_again(path, reencrypt=reencrypt)


def encrypted_backend(
    backend: Opened,
    member: Callable[[], MemberKey],
    keys: KeyringSource,
    open_keys: Callable[[], Awaitable[None]],
    workers: Workers,
    directory: Path,
) -> Opened:
    """The same backend with an encrypted bucket.

    ``member`` gives the own key, and is called in threads. ``open_keys`` is awaited before the bucket is used first,
    and ``keys`` are known then. ``directory`` is that of the backend on this disk.

    Of what the storage can do on IPFS nothing is left that would show, or need, the CID of a content.
    """
    can = backend.ipfs
    spool = SealedSpool(member, keys, at_end=can.ahead is not None)
    bucket = EncryptedBucket(backend.bucket, keys, spool, workers, directory / "moved", backend.replace)

    return replace(
        backend,
        bucket=OpenedByKeys(bucket, open_keys),
        encrypted=lambda: True,
        ipfs=Capabilities(
            ahead=can.ahead,
            remote_pins=can.remote_pins,
            list_top=None if can.list_top is None else partial(bucket.list_top, can.list_top, DOCUMENTS),
            spool=spool,
            cids=False,
        ),
    )
