"""The simulated world over an encrypted bucket: its events and files have their true names for the tests."""

import secrets
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred

from ipfsreg.bucket.encrypted.bucket import EncryptedBucket
from ipfsreg.bucket.encrypted.spool import SealedSpool
from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.interface import Entry, IReader, Stat
from ipfsreg.bucket.kubo.state.presence import Clocks
from ipfsreg.bucket.wrapper import BucketWrapper
from ipfsreg.encryption.file_format import decode_file, encode_file
from ipfsreg.encryption.names import names_of
from ipfsreg.flow.workers import Workers
from tests.bucket.encrypted.keys import FIXED, own_key
from tests.bucket.kubo.simulated_bucket import ScheduledNode, SimulatedKuboBucket
from tests.bucket.kubo.simulated_node import Choose, SimulatedNode
from tests.bucket.scheduled import ScheduledBucket, Scheduler, in_two_events

from .scheduling import ScheduledClock
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

    def __init__(self, stored: Any) -> None:
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
        return super()._operation(label_of(label.partition(" ")[0], *paths), effect, *paths)


def label_of(verb: str, *tokens: str) -> str:
    """The label of an operation, with the true paths."""
    return " ".join([verb, *map(true_path, tokens)])


class KuboFiles(Mapping[str, bytes]):
    """What is in the state of a bucket that its node has pinned."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._known: tuple[str, dict[str, bytes]] = ("", {})

    def _files(self) -> dict[str, bytes]:
        states = self._node.states()
        if states and states[-1].root != self._known[0]:
            files = self._node.files(states[-1].root)
            self._known = states[-1].root, {path: self._node.content(cid) for path, cid in files.items()}
        return self._known[1]

    def __getitem__(self, path: str) -> bytes:
        return self._files()[path]

    def __contains__(self, path: object) -> bool:
        return path in self._files()

    def __iter__(self) -> Iterator[str]:
        return iter(self._files())

    def __len__(self) -> int:
        return len(self._files())


class PatientClock(ScheduledClock):
    """What waits for a moment is called when the scheduler says so, and no call of the node takes too long."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Any:
        return super().callLater(0 if delay < 1 else delay, callable, *args, **kw)


class StoredOnNode(BucketWrapper):
    """A bucket on a simulated node, below the encryption. The node has events between the two of an operation."""

    def __init__(self, scheduler: Scheduler, workers: Workers, directory: Path, choose: Choose) -> None:
        clock = PatientClock(scheduler)
        node = SimulatedNode(clock, choose, online=False)
        self.node = ScheduledNode(node, clock, scheduler)
        super().__init__(
            SimulatedKuboBucket(self.node, directory, workers, Clocks(clock, clock.seconds, clock.seconds))
        )
        self.files: Mapping[str, bytes] = KuboFiles(node)
        self.fail: Callable[[str], tuple[BucketError, bool] | None] = lambda label: None
        self._scheduler = scheduler

    def stat(self, path: str) -> "Deferred[Stat]":
        return self._operation("stat", lambda: self._bucket.stat(path), path)

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        return self._operation("get", lambda: self._bucket.get(path, limit), path)

    def open(self, path: str) -> "Deferred[IReader]":
        return self._operation("open", lambda: self._bucket.open(path), path)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return self._operation("put", lambda: self._bucket.put(path, content), path)

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return self._operation("put_file", lambda: self._bucket.put_file(path, source), path)

    def move(self, source: str, destination: str) -> "Deferred[None]":
        return self._operation("move", lambda: self._bucket.move(source, destination), source, destination)

    def remove(self, path: str) -> "Deferred[None]":
        return self._operation("remove", lambda: self._bucket.remove(path), path)

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        return self._operation("list", lambda: self._bucket.list(directory), directory)

    def _operation(self, verb: str, effect: "Callable[[], Deferred[T]]", *tokens: str) -> "Deferred[T]":
        return in_two_events(self._scheduler, label_of(verb, *tokens), effect, lambda label: self.fail(label))


class EncryptedScheduledBucket(BucketWrapper):
    """As `ScheduledBucket`, encrypted. ``directory`` is for what is on its way."""

    def __init__(self, stored: StoredBucket | StoredOnNode, workers: Workers, directory: Path) -> None:
        self._stored = stored
        spool = SealedSpool(lambda: own_key(FIXED), FIXED, at_end=isinstance(stored, StoredOnNode))
        super().__init__(EncryptedBucket(stored, FIXED, spool, workers, directory / "moved"))
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
        return EncryptedScheduledBucket(StoredBucket(self.scheduler), workers, directory)


class EncryptedKuboWorld(World):
    """As `World`, over an encrypted bucket on a simulated node of Kubo."""

    def make_bucket(self, workers: Workers, directory: Path) -> EncryptedScheduledBucket:
        stored = StoredOnNode(self.scheduler, workers, directory, self.random.randrange)
        self.node = stored.node
        return EncryptedScheduledBucket(stored, workers, directory)

    async def collect_blocks(self) -> None:
        """The node's own garbage collection."""
        await self.node.collect()
