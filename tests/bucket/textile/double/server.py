"""The double of a Textile Hub or a self-hosted buckd, to be started in a test or by ``python -m``."""

from collections.abc import Mapping
from typing import Any

from nacl.signing import SigningKey

from ipfsreg.bucket.textile.proto import bucketsd_pb2, threads_pb2, usersd_pb2
from tests.grpcweb_double.call import PERMISSION_DENIED, UNKNOWN, Call, RpcError
from tests.grpcweb_double.server import DoubleServer

from .accounts import Accounts, ApiKey, Identity
from .archiving import Archiving
from .bucket import Bucket, Buckets
from .buckets_base import World
from .changing import Changing
from .content import Content, ContentStore
from .faults import Faults
from .identity import new_thread_id, parse_thread_id
from .pushing import Pushing
from .reading import Reading, stored_pieces
from .settings import CURRENT, Generation, Limits
from .threads import Thread, Threads, ThreadsService, UsersService
from .tree import SEED, File, Ipfs, files_below
from .unixfs import FileBuilder

ALLOWED_TO_OTHERS = {
    "Root",
    "Links",
    "ListPath",
    "PushPath",
    "PullPath",
    "SetPath",
    "MovePath",
    "RemovePath",
    "PushPathAccessRoles",
    "PullPathAccessRoles",
}
"""The calls about a bucket that one may make who does not own its thread (docs/protocols/textile.md, "Credentials")."""


class BucketsService(Reading, Pushing, Changing, Archiving):
    """``api.bucketsd.pb.APIService``."""


class TextileDouble(DoubleServer):
    """A server with all its state. `start` makes it listen."""

    def __init__(
        self,
        *,
        hub: bool = True,
        generation: Generation = CURRENT,
        limits: Limits | None = None,
        keep_content: bool = True,
        powergate: bool = False,
        reactor: Any = None,
    ) -> None:
        self.hub = hub
        self.limits = limits or Limits()
        if hub and self.limits.bucket_size is None:
            self.limits.bucket_size = generation.hub_bucket_size
        self.faults = Faults()
        super().__init__(generation, self.limits, self.faults, reactor)
        self.content = ContentStore(keep_content)
        self.ipfs = Ipfs(self.limits.directory_block)
        server_key = SigningKey.generate()
        self.accounts = Accounts(server_key, self.faults)
        self.threads = Threads(hub, self.limits)
        self.buckets = Buckets(self.ipfs, self.content, self.faults, self.limits, generation)
        self.world = World(
            self.buckets,
            self.threads,
            self.ipfs,
            self.content,
            self.faults,
            self.limits,
            generation,
            hub,
            powergate=powergate,
        )
        self.dispatcher.authorize = self._authorize
        self.threads_service = ThreadsService(self.threads, hub, server_key, self.faults, self.limits)
        self.buckets_service = BucketsService(self.world)
        hidden = set() if generation.has_push_paths else {"PushPaths"}
        hidden |= set() if generation.has_move_path else {"MovePath"}
        services = [
            (threads_pb2, "API", self.threads_service),
            (bucketsd_pb2, "APIService", self.buckets_service),
        ]
        if hub:
            services.append((usersd_pb2, "APIService", UsersService(self.threads)))
        for module, name, implementation in services:
            self.dispatcher.add_service(module.DESCRIPTOR.services_by_name[name], implementation, hidden)

    async def stop(self) -> None:
        try:
            await super().stop()
        finally:
            self.content.close()

    # Who may do what.

    def _authorize(self, call: Call, request: Any, unary: bool) -> None:
        if not self.hub:
            try:
                call.identity = Identity(self.accounts.identify_by_token(call.metadata) or "")
            except RpcError:
                raise RpcError(UNKNOWN, "invalid thread token") from None
            return
        identity = call.identity = self.accounts.identify_on_hub(call)
        thread_id = parse_thread_id(call.metadata.get("x-textile-thread", ""))
        thread = self.threads.by_id.get(thread_id) if thread_id else None
        if not unary or thread is None or call.method in ALLOWED_TO_OTHERS:
            return
        if thread.owner != identity.public_key:
            raise RpcError(PERMISSION_DENIED, "User does not own thread")
        if thread.api_key != identity.api_key:
            raise RpcError(PERMISSION_DENIED, "Bad API key")

    # For tests: past the network, with the same limits.

    def add_thread(self, name: str = "buckets", key: ApiKey | None = None, thread_id: bytes | None = None) -> Thread:
        """A thread, on a hub of a key's account."""
        identity = Identity("")
        if key is not None:
            identity = Identity(key.owner.public_key, key.key if key.for_users else "")
        return self.threads.add(thread_id or new_thread_id(), name, identity)

    def add_bucket(
        self,
        thread: Thread,
        name: str = "ddocker",
        *,
        private: bool = False,
        key: str | None = None,
    ) -> Bucket:
        """A bucket of a thread's owner; the key is random unless given."""
        return self.buckets.create(thread.id_string, name, thread.owner, private=private, key=key)

    def bucket(self, name_or_key: str) -> Bucket:
        """The bucket with a name or key, as it was last saved.

        :raises LookupError: where there is none, or more than one of that name.
        """
        found = [bucket for bucket in self.buckets.all() if name_or_key in (bucket.name, bucket.key)]
        if len(found) != 1:
            raise LookupError(f"{len(found)} buckets {name_or_key!r}")
        return found[0]

    def put_files(self, name_or_key: str, files: Mapping[str, "bytes | Content"]) -> Bucket:
        """Push files past the network, saving once.

        :raises RpcError: on a limit, as PushPaths would.
        """
        draft = self.bucket(name_or_key).draft()
        for path, content in files.items():
            self.buckets_service.link(draft, path, self._file(content, draft.private))
        self.buckets.save_now(draft)
        return draft

    def _file(self, content: "bytes | Content", private: bool) -> File:
        if isinstance(content, bytes):
            return self.ipfs.store_file(self.content, content, private)
        if private:
            return self.ipfs.add_private_file(content)
        builder = FileBuilder()
        for offset in range(0, content.size, 1 << 20):
            builder.update(content.read(offset, 1 << 20))
        cid, dag_size, raw = builder.finish()
        return self.ipfs.add_file(cid, content, dag_size, raw=raw)

    def files(self, name_or_key: str) -> dict[str, File]:
        """All files of a bucket by path, but for its seed."""
        found = files_below(self.bucket(name_or_key).root)
        return {path: file for path, file in found.items() if path != SEED}

    def read(self, name_or_key: str, path: str) -> bytes:
        """A file's whole content.

        :raises KeyError: where it is not there.
        """
        return b"".join(stored_pieces(self.files(name_or_key)[path], [1 << 20]))

    def set_archive_status(self, name_or_key: str, status: int, failure: str = "") -> None:
        """Move the current archive of a bucket on (`bucketsd_pb2.ARCHIVE_STATUS_…`)."""
        current = self.bucket(name_or_key).archives.current
        current.archive_status = status  # type: ignore[assignment]
        current.failure_msg = failure
