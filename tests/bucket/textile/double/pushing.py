"""PushPath and PushPaths: the methods that take content in (docs/protocols/textile.md, "Pushing")."""

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.call import PERMISSION_DENIED, UNKNOWN, Call, RpcError
from tests.grpcweb_double.dispatcher import decode
from tests.grpcweb_double.pace import Pace
from tests.grpcweb_double.wire import field

from .bucket import WRITER, Bucket
from .buckets_base import BucketsBase, World, clean_path, identity_of, segments_of, with_root, within
from .tree import ENCRYPTION_OVERHEAD, File
from .unixfs import FileBuilder

PROGRESS_STEP = 256 * 1024

_LOADING = "getting bucket"


class Incoming:
    """A file on its way in."""

    def __init__(self, world: World, private: bool) -> None:
        self._ipfs = world.ipfs
        self._writer = world.content.writer()
        self._builder = None if private else FileBuilder()
        self._overhead = ENCRYPTION_OVERHEAD if private else 0

    @property
    def stored_bytes(self) -> int:
        """What IPFS has read so far: ciphertext where private."""
        return self._writer.size + self._overhead

    def write(self, data: bytes) -> None:
        """Take a piece of content."""
        self._writer.write(data)
        if self._builder is not None:
            self._builder.update(data)

    def finish(self) -> File:
        """The file in IPFS."""
        content = self._writer.finish()
        if self._builder is None:
            return self._ipfs.add_private_file(content)
        cid, dag_size, raw = self._builder.finish()
        return self._ipfs.add_file(cid, content, dag_size, raw=raw)


class Pushing(BucketsBase):
    """The two push methods."""

    def link(self, draft: Bucket, path: str, file: File) -> None:
        """Put a file into a draft of a bucket.

        :raises RpcError: where IPFS will not.
        """
        names = segments_of(path)
        if not names:
            raise RpcError(UNKNOWN, "cannot create link with no name")
        draft.root = self.world.ipfs.put(draft.root, names, file)
        draft.under_lost_key -= {path}
        draft.metadata.touch(path, self.world.buckets.now())
        draft.metadata.remove_inside(path)  # of a directory that was there

    async def PushPath(self, call: Call) -> None:
        thread = self.thread_of(call)
        first = await call.receive()
        if first is None:
            return
        request = decode(bucketsd_pb2.PushPathRequest, first)
        call.record.request = request
        if request.WhichOneof("payload") != "header":
            raise RpcError(UNKNOWN, "push bucket path header is required")
        header = request.header
        path = clean_path(header.path)
        async with self.world.buckets.locked(call, header.key):
            draft = self.world.buckets.load(header.key, thread).draft()
            draft.check_root(header.root)
            draft.permit(WRITER, path, identity_of(call))
            file = await self._take_content(call, draft.private)
            before = draft.root.dag_size
            self.link(draft, path, file)
            await self.world.buckets.save(call, draft)
            event = bucketsd_pb2.PushPathResponse.Event(
                path=f"/ipfs/{file.cid}", size=str(file.dag_size), pinned=draft.root.dag_size - before
            )
            root = with_root(bucketsd_pb2.PushPathResponse.Event.ROOT_FIELD_NUMBER, draft)
            await call.send(field(1, event.SerializeToString() + root))

    async def _take_content(self, call: Call, private: bool) -> File:
        incoming = Incoming(self.world, private)
        pace = Pace(call, self.world.faults.push_bytes_per_second)
        reported = 0
        while (payload := await call.receive()) is not None:
            request = decode(bucketsd_pb2.PushPathRequest, payload)
            if request.WhichOneof("payload") != "chunk":
                raise RpcError(UNKNOWN, "invalid request")
            incoming.write(request.chunk)
            await pace.moved(len(request.chunk))
            while incoming.stored_bytes - reported >= PROGRESS_STEP:
                reported += PROGRESS_STEP
                await self._report(call, reported)
        await self._report(call, incoming.stored_bytes)
        return incoming.finish()

    @staticmethod
    async def _report(call: Call, count: int) -> None:
        event = bucketsd_pb2.PushPathResponse.Event(bytes=count)
        await call.send(bucketsd_pb2.PushPathResponse(event=event))

    async def PushPaths(self, call: Call) -> None:
        thread = self.thread_of(call, _LOADING)
        first = await call.receive()
        if first is None:
            return
        request = decode(bucketsd_pb2.PushPathsRequest, first)
        call.record.request = request
        if request.WhichOneof("payload") != "header":
            raise RpcError(UNKNOWN, "push bucket paths header is required")
        header = request.header
        async with self.world.buckets.locked(call, header.key):
            draft = self._load_for_many(header.key, thread)
            draft.check_root(header.root)
            if self.world.generation.checks_paths_in_header:
                self._verify(draft, call, list(header.paths))
            linked: list[str] = []
            try:
                await self._take_files(call, draft, linked)
            except RpcError:
                # What was linked is saved, also where the client is gone.
                if linked:
                    self.world.buckets.save_now(draft)
                raise
            await self.world.buckets.save(call, draft)

    def _load_for_many(self, key: str, thread: str) -> Bucket:
        with within(_LOADING):
            return self.world.buckets.load(key, thread).draft()

    @staticmethod
    def _verify(draft: Bucket, call: Call, paths: list[str]) -> None:
        for path in paths:
            with within("verifying bucket update", PERMISSION_DENIED):
                draft.permit(WRITER, path.removeprefix("/"), identity_of(call))

    async def _take_files(self, call: Call, draft: Bucket, linked: list[str]) -> None:
        files: dict[str, Incoming | None] = {}
        pace = Pace(call, self.world.faults.push_bytes_per_second)
        while (payload := await call.receive()) is not None:
            request = decode(bucketsd_pb2.PushPathsRequest, payload)
            if request.WhichOneof("payload") != "chunk":
                raise RpcError(UNKNOWN, "on receive: invalid request")
            data = request.chunk.data
            try:
                path = clean_path(request.chunk.path)
            except RpcError as error:
                raise RpcError(UNKNOWN, f"parsing path: {error.text}") from None
            if path not in files:
                with within("enqueueing file: verifying bucket update"):
                    draft.permit(WRITER, path, identity_of(call))
            incoming = files.setdefault(path, Incoming(self.world, draft.private) if path not in files else None)
            if incoming is None:
                raise RpcError(UNKNOWN, "writing chunk: io: read/write on closed pipe")
            if data:
                incoming.write(data)
                await pace.moved(len(data))
                continue
            files[path] = None
            await self._end_file(call, draft, path, incoming.finish())
            linked.append(path)
        if any(incoming is not None for incoming in files.values()):
            # A file whose closing chunk never came: the stream does not end, and the lock stays taken for good.
            self.world.buckets.keep_lock(draft.key)
            await call.until_cancelled()

    async def _end_file(self, call: Call, draft: Bucket, path: str, file: File) -> None:
        before = draft.root.dag_size
        try:
            self.link(draft, path, file)
        except RpcError as error:
            doing = "inserting added node" if draft.private else "adding bucket link"
            raise RpcError(UNKNOWN, f"{doing}: {error.text}") from None
        response = bucketsd_pb2.PushPathsResponse(
            path=path, cid=file.cid, size=file.dag_size, pinned=draft.root.dag_size - before
        )
        root = with_root(bucketsd_pb2.PushPathsResponse.ROOT_FIELD_NUMBER, draft)
        await call.send(response.SerializeToString() + root)
