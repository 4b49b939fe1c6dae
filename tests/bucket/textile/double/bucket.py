"""A bucket's document, the lock of its writers, and the size limits that the document runs into."""

import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from twisted.internet.defer import DeferredLock

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.call import FAILED_PRECONDITION, RESOURCE_EXHAUSTED, UNKNOWN, Call, RpcError

from .content import ContentStore
from .faults import Faults
from .metadata import Entry, PathMetadata
from .settings import Generation, Limits
from .tree import SEED, Directory, Ipfs, random_cid
from .unixfs import LIBP2P_KEY, cid_string

READER, WRITER, ADMIN = 1, 2, 3

DENIED = "app denied net record body: permission denied"


@dataclass(eq=False, slots=True)
class Bucket:
    """A bucket as its document has it. Change a `draft`, and save that."""

    key: str
    name: str
    thread: str
    owner: str
    root: Directory
    created_at: int
    updated_at: int
    link_key: str = field(default="", repr=False)
    file_key: str = field(default="", repr=False)
    metadata: PathMetadata = field(default_factory=PathMetadata)
    archives: bucketsd_pb2.Archives = field(default_factory=bucketsd_pb2.Archives)
    archive_config: bucketsd_pb2.ArchiveConfig = field(default_factory=bucketsd_pb2.ArchiveConfig)
    under_lost_key: frozenset[str] = frozenset()
    """The files that nobody can decrypt any more: see `Changing.PushPathAccessRoles`."""

    @property
    def private(self) -> bool:
        """Whether the server encrypts what is in it."""
        return bool(self.link_key)

    @property
    def path(self) -> str:
        """``/ipfs/<cid>`` of all of it."""
        return f"/ipfs/{self.root.cid}"

    def draft(self) -> "Bucket":
        """A copy to be changed."""
        return Bucket(
            self.key,
            self.name,
            self.thread,
            self.owner,
            self.root,
            self.created_at,
            self.updated_at,
            self.link_key,
            self.file_key,
            self.metadata.copy(),
            self.archives,
            self.archive_config,
            self.under_lost_key,
        )

    def as_seen_by(self, reader: str) -> "Bucket":
        """The bucket with the metadata that an identity may read: without a role anywhere, not even that it is private.

        The root's own metadata are hidden from one who has no role on all of it.
        """
        if not self.owner or reader == self.owner or self.metadata.role("", reader) >= READER:
            return self
        seen = self.draft()
        for path in self.metadata:
            if self.metadata.role(path, reader) < READER:
                seen.metadata.remove(path)
        if not len(seen.metadata):
            seen.link_key = ""
        return seen

    def document_size(self) -> int:
        """How many bytes the JSON document has (the fixed part is about right, the metadata exact)."""
        fixed = {
            "_id": self.key,
            "_mod": self.updated_at,
            "archives": {"current": {"deal_info": None}, "history": None},
            "created_at": self.created_at,
            "key": self.link_key,
            "metadata": {},
            "name": self.name,
            "owner": self.owner,
            "path": self.path,
            "updated_at": self.updated_at,
            "version": 1,
        }
        archives = self.archives.ByteSize() * 2
        return len(json.dumps(fixed, separators=(",", ":"))) + archives + self.metadata.document_size

    def encoded(self) -> bytes:
        """The Root message, serialised."""
        root = bucketsd_pb2.Root(
            key=self.key,
            name=self.name,
            path=self.path,
            created_at=self.created_at,
            updated_at=self.updated_at,
            thread=self.thread,
            owner=self.owner,
            version=1,
            link_key=self.link_key,
        )
        own = self.metadata.get("")
        if own is not None:
            root.metadata.CopyFrom(own.message())
        root.archives.CopyFrom(self.archives)
        root.archives.current.SetInParent()
        return root.SerializeToString() + self.metadata.encoded()

    def permit(self, role: int, path: str, identity: str) -> None:
        """Refuse one who has not the role at a path. Without an owner anybody may do anything.

        A role is on what is there: a new path, whoever has which role above it, is for the owner alone to make.

        :raises RpcError: as the write validator's refusal arrives.
        """
        if not self.owner or identity == self.owner:
            return
        if self.metadata.get(path) is None or self.metadata.role(path, identity) < role:
            raise RpcError(UNKNOWN, DENIED)

    def check_root(self, root: str) -> None:
        """Refuse a client's root that is not the current one; an empty one is not looked at.

        :raises RpcError: with status 9.
        """
        if root and root != self.path:
            raise RpcError(FAILED_PRECONDITION, "update is non-fast-forward")


class Buckets:
    """All buckets of the server: reading and saving their documents, and their locks."""

    def __init__(
        self, ipfs: Ipfs, content: ContentStore, faults: Faults, limits: Limits, generation: Generation
    ) -> None:
        self._ipfs = ipfs
        self._content = content
        self._faults = faults
        self._limits = limits
        self._generation = generation
        self._buckets: dict[str, Bucket] = {}
        self._oversized: dict[str, int] = {}
        self._locks: dict[str, DeferredLock] = {}
        self._kept: set[str] = set()

    def now(self) -> int:
        """The server's time in nanoseconds."""
        return int(self._faults.now() * 1e9)

    def create(
        self,
        thread: str,
        name: str,
        owner: str,
        *,
        private: bool = False,
        key: str | None = None,
    ) -> Bucket:
        """A new bucket with nothing but its seed; the key is random unless given."""
        now = self.now()
        link_key = base64.b64encode(secrets.token_bytes(64)).decode() if private else ""
        file_key = base64.b64encode(secrets.token_bytes(64)).decode() if private else ""
        root = self._ipfs.new_bucket_root(self._content, private)
        bucket = Bucket(
            key or cid_string(random_cid(LIBP2P_KEY)), name, thread, owner, root, now, now, link_key, file_key
        )
        roles = {} if not owner else {owner: ADMIN} if private else {"*": READER, owner: ADMIN}
        bucket.metadata.set("", Entry(now, roles, file_key))
        bucket.metadata.set(SEED, Entry(now))
        self._buckets[bucket.key] = bucket
        return bucket

    def find(self, key: str) -> Bucket | None:
        """A bucket, past all limits: for tests."""
        return self._buckets.get(key)

    def all(self) -> list[Bucket]:
        """All buckets of all threads."""
        return list(self._buckets.values())

    def load(self, key: str, thread: str) -> Bucket:
        """The saved bucket.

        :raises RpcError: where there is none in this thread, or its document has grown past the limit.
        """
        bucket = self._buckets.get(key)
        if bucket is None or bucket.thread != thread:
            raise RpcError(UNKNOWN, "instance not found")
        self._check_message(self._oversized.get(key, 0), self._limits.document)
        return bucket

    def list(self, thread: str) -> list[Bucket]:
        """All buckets of a thread.

        :raises RpcError: where the documents are too large, each or together.
        """
        found = [bucket for bucket in self._buckets.values() if bucket.thread == thread]
        total = sum(self._oversized.get(bucket.key) or bucket.document_size() for bucket in found)
        self._check_message(total, self._limits.documents)
        return found

    async def save(self, call: Call, draft: Bucket) -> None:
        """Make a draft the bucket, after what the end of a write takes.

        :raises RpcError: on a quota, a client that has gone, or a document too large. The last has made the
            bucket unusable: the document is stored, and cannot be read any more.
        """
        if self._faults.storage_exhausted:
            raise RpcError(UNKNOWN, "storage quota exhausted")
        limit = self._limits.bucket_size
        if limit is not None and draft.root.dag_size > limit:
            raise RpcError(UNKNOWN, "max bucket size exceeded")
        await call.sleep(self._faults.save_seconds)
        call.check()
        self.save_now(draft)

    def save_now(self, draft: Bucket) -> None:
        """Make a draft the bucket.

        :raises RpcError: where its document is too large.
        """
        draft.updated_at = self.now()
        size = draft.document_size()
        if self._limits.document is not None and size > self._limits.document:
            self._oversized[draft.key] = size
        self._check_message(size, self._limits.document)
        self._buckets[draft.key] = draft

    @staticmethod
    def _check_message(size: int, limit: int | None) -> None:
        if limit is not None and size > limit:
            raise RpcError(RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {limit})")

    def remove(self, key: str) -> None:
        """Forget a bucket."""
        del self._buckets[key]

    @contextlib.asynccontextmanager
    async def locked(self, call: Call, key: str) -> AsyncIterator[None]:
        """Hold the bucket's lock. Waiting for it cannot be broken off: a client that left waits on."""
        if not self._generation.locks:
            yield
            return
        lock = self._locks.setdefault(key, DeferredLock())
        record, clock = call.record, call.clock
        record.lock_bucket, record.lock_wanted = key, clock.seconds()
        await lock.acquire()
        record.lock_taken = clock.seconds()
        try:
            call.check()
            yield
        finally:
            if key not in self._kept:
                record.lock_released = clock.seconds()
                lock.release()

    def keep_lock(self, key: str) -> None:
        """Let nobody have the bucket's lock ever again: the real server has such a deadlock."""
        self._kept.add(key)

    def is_locked(self, key: str) -> bool:
        """Whether somebody holds the bucket's lock."""
        return key in self._locks and self._locks[key].locked
