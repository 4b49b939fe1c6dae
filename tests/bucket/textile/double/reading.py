"""The methods of the buckets service that change nothing, and take no lock (docs/protocols/textile.md, "Reading")."""

from collections.abc import Iterator, Sequence
from itertools import cycle

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.call import RESOURCE_EXHAUSTED, UNKNOWN, Call, RpcError
from tests.grpcweb_double.pace import Pace
from tests.grpcweb_double.wire import field

from .bucket import Bucket
from .buckets_base import BucketsBase, clean_path, identity_of, segments_of, with_root
from .content import Content, ContentLostError
from .metadata import Entry
from .tree import Directory, File, Node

PULL_CHUNKS = [32768, 29248, 32768, 20480, 4096]
"""Lengths of PullPath's messages, in turn. A real server's are of any length from 4 to 32 KiB."""


class Reading(BucketsBase):
    """List, Root, Links, ListPath, PullPath, and the two by IPFS path."""

    async def List(self, call: Call, request: bucketsd_pb2.ListRequest) -> bytes:
        buckets = self.world.buckets.list(self.thread_of(call))
        return b"".join(with_root(1, bucket.as_seen_by(identity_of(call))) for bucket in buckets)

    async def Root(self, call: Call, request: bucketsd_pb2.RootRequest) -> bytes:
        return with_root(1, self.load_to_read(call, request.key))

    async def Links(self, call: Call, request: bucketsd_pb2.LinksRequest) -> bucketsd_pb2.LinksResponse:
        bucket = self.load(call, request.key)
        path = request.path.removeprefix("/")
        if path:
            self.resolve(bucket, path)
        return self.links(bucket, path)

    async def ListPath(self, call: Call, request: bucketsd_pb2.ListPathRequest) -> bytes:
        bucket = self.load_to_read(call, request.key)
        path = "/".join(segments_of(request.path))
        node = self.resolve_to_read(bucket, path)
        if isinstance(node, Directory):
            await call.sleep(self.world.faults.block_fetch_seconds * len(node.entries))
        name = path.rpartition("/")[2] or bucket.name
        where = f"{bucket.path}/{path}" if path else bucket.path
        item = list_item(node, name, where, children=True, bucket=bucket, path=path)
        return field(1, item.SerializeToString()) + with_root(2, bucket)

    async def ListIpfsPath(
        self, call: Call, request: bucketsd_pb2.ListIpfsPathRequest
    ) -> bucketsd_pb2.ListIpfsPathResponse:
        node = self.resolve_ipfs(request.path)
        item = list_item(node, request.path.rpartition("/")[2], request.path, children=True)
        return bucketsd_pb2.ListIpfsPathResponse(item=item)

    async def PullPath(self, call: Call, request: bucketsd_pb2.PullPathRequest) -> None:
        if self.world.faults.egress_exhausted:
            raise RpcError(RESOURCE_EXHAUSTED, "network egress exhausted: quota reached")
        bucket = self.load_to_read(call, request.key)
        path = clean_path(request.path)
        if bucket.metadata.nearest(path) is None:
            raise RpcError(UNKNOWN, f"could not resolve path: {path}")
        node = self.resolve(bucket, path)
        if isinstance(node, Directory):
            raise RpcError(UNKNOWN, "node is a directory")
        if bucket.private:
            await self._check_ciphertext(call, bucket, path, node)
        await self._send_content(call, node)

    async def PullIpfsPath(self, call: Call, request: bucketsd_pb2.PullIpfsPathRequest) -> None:
        node = self.resolve_ipfs(request.path)
        if isinstance(node, Directory):
            raise RpcError(UNKNOWN, "node is a directory")
        await self._send_content(call, node)

    async def _check_ciphertext(self, call: Call, bucket: Bucket, path: str, file: File) -> None:
        """Go through all of a private file before its first byte is sent, as the real server must."""
        faults = self.world.faults
        pace = Pace(call, faults.decrypt_bytes_per_second)
        for piece in stored_pieces(file, [1024 * 1024]):
            await pace.moved(len(piece))
            await call.breathe()
            call.check()
        if path in bucket.under_lost_key or (bucket.key, path) in faults.corrupt:
            raise RpcError(UNKNOWN, "message corrupt or incorrect password")

    async def _send_content(self, call: Call, file: File) -> None:
        plan = call.plan
        pace = Pace(call, self.world.faults.pull_bytes_per_second)
        left = file.content.size if plan.truncate is None else plan.truncate
        altered = not plan.alter
        for chunk in stored_pieces(file, PULL_CHUNKS):
            chunk = chunk[:left]
            if not chunk:
                return
            left -= len(chunk)
            if not altered:
                chunk = bytes([chunk[0] ^ 0xFF]) + chunk[1:]
                altered = True
            await call.send(field(1, chunk))
            await pace.moved(len(chunk))


def stored_pieces(file: File, sizes: Sequence[int]) -> Iterator[bytes]:
    """A file's content, in pieces of these sizes in turn.

    :raises RpcError: where it was not kept.
    """
    content: Content = file.content
    offset = 0
    for size in cycle(sizes):
        if offset >= content.size:
            return
        try:
            yield content.read(offset, size)
            offset += size
        except ContentLostError:
            text = f"block was not found locally (offline): ipld: could not find {file.cid}"
            raise RpcError(UNKNOWN, text) from None


def list_item(
    node: Node, name: str, where: str, *, children: bool, bucket: Bucket | None = None, path: str = ""
) -> bucketsd_pb2.PathItem:
    """What ListPath tells of a node; of a directory with one level of what is in it."""
    item = bucketsd_pb2.PathItem(cid=node.cid, name=name, path=where, size=node.dag_size, is_dir=node.is_directory)
    entry: Entry | None = bucket.metadata.get(path) if bucket is not None else None
    if entry is None and bucket is not None and path and isinstance(node, Directory):
        entry = bucket.metadata.nearest(path)  # its key too
    if entry is not None:
        item.metadata.CopyFrom(entry.message())
    if isinstance(node, Directory):
        item.items_count = len(node.entries)
        if children:
            item.items.extend(
                list_item(
                    child,
                    child_name,
                    f"{where}/{child_name}",
                    children=False,
                    bucket=bucket,
                    path=f"{path}/{child_name}" if path else child_name,
                )
                for child_name, child in sorted(node.entries.items())
            )
    return item
