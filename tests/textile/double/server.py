"""The double of a Textile Hub or a self-hosted buckd, to be started in a test or by ``python -m``."""

from collections.abc import Mapping
from typing import Any

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from ipfsreg.bucket.textile.proto import bucketsd_pb2, threads_pb2, usersd_pb2

from .accounts import Accounts, ApiKey, Identity
from .archiving import Archiving
from .bucket import Bucket, Buckets
from .buckets_base import World
from .call import PERMISSION_DENIED, Call, RpcError
from .changing import Changing
from .connection import ConnectionFactory, Front
from .content import Content, ContentStore
from .dispatcher import Dispatcher
from .faults import Faults
from .identity import new_thread_id, parse_thread_id
from .pushing import Pushing
from .reading import Reading, stored_pieces
from .recorder import Recorder
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
"""The calls about a bucket that one may make who does not own its thread (fact sheet 2)."""


class BucketsService(Reading, Pushing, Changing, Archiving):
    """``api.bucketsd.pb.APIService``."""


class TextileDouble:
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
        if reactor is None:
            from twisted.internet import reactor
        self.reactor: Any = reactor
        self.hub = hub
        self.limits = limits or Limits()
        if hub and self.limits.bucket_size is None:
            self.limits.bucket_size = generation.hub_bucket_size
        self.faults = Faults()
        self.calls = Recorder()
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
        self.dispatcher = Dispatcher(reactor, self.calls, self.faults, self.limits)
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
        self._front = Front(reactor, self.dispatcher, generation, self.limits, self.faults, self.calls)
        self._port: Any = None
        self.host, self.port = "127.0.0.1", 0

    # Life.

    @property
    def url(self) -> str:
        """What a user would write as `host`."""
        return f"http://{self.host}:{self.port}"

    def start(self, listen: str = "tcp:0:interface=127.0.0.1") -> "TextileDouble":
        """Listen on a TCP endpoint given as Twisted writes it, by default on any free port.

        :raises twisted.internet.error.CannotListenError: where the port is taken.
        """
        listening = serverFromString(self.reactor, listen).listen(ConnectionFactory(self._front))
        # A TCP endpoint listens at once, so that the outcome is there already.
        outcome: list[Any] = []
        listening.addBoth(outcome.append)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        self._port = outcome[0]
        address = self._port.getHost()
        self.host, self.port = address.host, address.port
        return self

    async def go_away(self) -> None:
        """Stop listening and reset all connections, as a server that was killed. What was saved stays."""
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()
        self.dispatcher.stop()
        self.drop_connections()
        while self._front.connections:
            await deferLater(self.reactor, 0.001)

    def drop_connections(self) -> None:
        """Reset all connections that are open now."""
        for connection in list(self._front.connections):
            connection.transport.abortConnection()  # type: ignore[union-attr]

    def come_back(self) -> None:
        """Listen again, on the same port."""
        self.start(f"tcp:{self.port}:interface={self.host}")

    async def stop(self) -> None:
        """Stop for good.

        :raises Exception: the first thing that went wrong in the double itself, if any did.
        """
        await self.go_away()
        self.content.close()
        for failure in self.dispatcher.failures:
            failure.raiseException()

    def stopped(self) -> "Deferred[None]":
        """`stop` for callers that want a Deferred."""
        return Deferred.fromCoroutine(self.stop())

    # Who may do what.

    def _authorize(self, call: Call, request: Any, unary: bool) -> None:
        if not self.hub:
            call.identity = Identity(self.accounts.identify_by_token(call.metadata) or "")
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
        return b"".join(stored_pieces(self.files(name_or_key)[path], 1 << 20))

    def set_archive_status(self, name_or_key: str, status: int, failure: str = "") -> None:
        """Move the current archive of a bucket on (`bucketsd_pb2.ARCHIVE_STATUS_…`)."""
        current = self.bucket(name_or_key).archives.current
        current.archive_status = status  # type: ignore[assignment]
        current.failure_msg = failure
