"""The simulated world over an encrypted bucket: its events and files have their true names for the tests."""

import secrets
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, ensureDeferred

from ipfsreg.bucket.encrypted.bucket import EncryptedBucket
from ipfsreg.bucket.encrypted.spool import SealedSpool
from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.wrapper import BucketWrapper
from ipfsreg.encryption.file_format import decode_file, encode_file
from ipfsreg.encryption.names import names_of
from ipfsreg.flow.workers import Workers
from tests.bucket.encrypted.keys import FIXED, own_key
from tests.bucket.scheduled import ScheduledBucket, Scheduler

from .simulation import World

T = TypeVar("T")

KEYS = FIXED.keyring
NAMES = names_of(KEYS.name_key)


def true_path(tokens: str) -> str:
    """The path that a path of tokens stands for."""
    path = ""
    for token in tokens.split("/") if tokens else ():
        segment = NAMES.segment(path, token)
        path = f"{path}/{segment}" if path else segment
    return path


class DecryptedFiles(MutableMapping[str, bytes]):
    """What is stored, by true paths."""

    def __init__(self, stored: dict[str, bytes]) -> None:
        self._stored = stored

    def __getitem__(self, path: str) -> bytes:
        return decode_file(KEYS, path, self._stored[NAMES.path(path)])

    def __setitem__(self, path: str, content: bytes) -> None:
        self._stored[NAMES.path(path)] = encode_file(KEYS, path, content)

    def __delitem__(self, path: str) -> None:
        del self._stored[NAMES.path(path)]

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and NAMES.path(path) in self._stored

    def __iter__(self) -> Iterator[str]:
        return map(true_path, self._stored)

    def __len__(self) -> int:
        return len(self._stored)


class StoredBucket(ScheduledBucket):
    """What is below the encryption. It takes files of this disk."""

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        self.spool[source] = source.read_bytes()
        return super().put_file(path, source)

    def _operation(self, label: str, effect: Callable[[], T], *paths: str) -> "Deferred[T]":
        verb = label.partition(" ")[0]
        return super()._operation(" ".join([verb, *map(true_path, paths)]), effect, *paths)


class EncryptedScheduledBucket(BucketWrapper):
    """As `ScheduledBucket`, encrypted. ``directory`` is for what is on its way."""

    def __init__(self, scheduler: Scheduler, workers: Workers, directory: Path) -> None:
        self._stored = StoredBucket(scheduler)
        spool = SealedSpool(lambda: own_key(FIXED), FIXED, at_end=False)
        super().__init__(EncryptedBucket(self._stored, FIXED, spool, workers, directory / "moved"))
        self._directory = directory
        self.files = DecryptedFiles(self._stored.files)
        self.spool: dict[Path, bytes] = {}

    @property
    def fail(self) -> Callable[[str], tuple[BucketError, bool] | None]:
        return self._stored.fail

    @fail.setter
    def fail(self, fail: Callable[[str], tuple[BucketError, bool] | None]) -> None:
        self._stored.fail = fail

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return ensureDeferred(self._put_file(path, source))

    async def _put_file(self, path: str, source: Path) -> None:
        file = self._directory / secrets.token_hex(8)
        file.write_bytes(self.spool[source])
        try:
            await super().put_file(path, file)
        finally:
            file.unlink(missing_ok=True)
        self.spool.pop(source, None)


class EncryptedWorld(World):
    """As `World`, over an encrypted bucket."""

    def make_bucket(self, workers: Workers, directory: Path) -> EncryptedScheduledBucket:
        return EncryptedScheduledBucket(self.scheduler, workers, directory)
