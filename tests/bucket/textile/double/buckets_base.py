"""What the methods of the buckets service have in common."""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.call import CODE_NAMES, UNKNOWN, Call, RpcError
from tests.grpcweb_double.wire import field

from .accounts import Identity
from .bucket import Bucket, Buckets
from .content import ContentStore
from .faults import Faults
from .identity import decode_multibase, parse_thread_id
from .settings import Generation, Limits
from .threads import Threads
from .tree import SEED, Directory, Ipfs, Node, follow


@dataclass(slots=True)
class World:
    """All of a server's state that the buckets service works on."""

    buckets: Buckets
    threads: Threads
    ipfs: Ipfs
    content: ContentStore
    faults: Faults
    limits: Limits
    generation: Generation
    hub: bool
    gateway: str = "http://127.0.0.1:8006"
    powergate: bool = False
    """Whether the server has a Filecoin node to archive with."""
    wallet_empty: bool = False


class BucketsBase:
    """Access to the server's state for one of the parts of the service."""

    def __init__(self, world: World) -> None:
        self.world = world

    def thread_of(self, call: Call, doing: str = "") -> str:
        """The thread in the call's metadata, as a string.

        :param doing: what the method says that it was doing when there is no such thread.
        :raises RpcError: where it is missing or garbage (``db required``), or the server has no such thread.
        """
        thread_id = parse_thread_id(call.metadata.get("x-textile-thread", ""))
        if thread_id is None:
            raise RpcError(UNKNOWN, "db required")
        with within(doing):
            return self.world.threads.get(thread_id).id_string

    def load(self, call: Call, key: str) -> Bucket:
        """The saved bucket that a call is about.

        :raises RpcError: where it cannot be read.
        """
        return self.world.buckets.load(key, self.thread_of(call))

    def load_to_read(self, call: Call, key: str) -> Bucket:
        """The saved bucket with what the caller may know of it; raises as `load`."""
        return self.load(call, key).as_seen_by(identity_of(call))

    def resolve_to_read(self, bucket: Bucket, path: str) -> Node:
        """As `resolve`, in a bucket of `load_to_read`.

        :raises RpcError: where the caller has no role on a path, in the words for one that is missing.
        """
        names = segments_of(path)
        where = "/".join([bucket.path, *names])
        if bucket.root.private and not bucket.private:  # the server takes the ciphertext for a public bucket
            if names:
                raise RpcError(UNKNOWN, f'no link named "{names[0]}" under {bucket.root.cid}')
            raise RpcError(UNKNOWN, f"could not resolve path: {where}")
        node = self.resolve(bucket, path)
        if bucket.metadata.nearest(path) is None:
            raise RpcError(UNKNOWN, f"could not resolve path: {where}")
        return node

    def resolve(self, bucket: Bucket, path: str) -> Node:
        """The file or directory at a path.

        :raises RpcError: with IPFS's text in a public bucket, the server's in a private one.
        """
        if bucket.private:
            node: Node = bucket.root
            for segment in segments_of(path):
                child = node.entries.get(segment) if isinstance(node, Directory) else None
                if child is None:
                    raise RpcError(UNKNOWN, f"could not resolve path: {bucket.path}/{path}")
                node = child
            return node
        return self.resolve_ipfs(f"{bucket.path}/{path}", bucket.root)

    def resolve_ipfs(self, path: str, root: Directory | None = None) -> Node:
        """The node at ``/ipfs/<cid>/…``, with ``..`` resolved before anything else as Go's path.Join does.

        :raises RpcError: where the CID is not on the node, or a name not in its directory.
        """
        cid, *names = segments_of(posixpath.normpath(path).removeprefix("/ipfs"))
        node = root if root is not None and root.cid == cid else self.world.ipfs.find(cid)
        if node is None:
            raise RpcError(UNKNOWN, "merkledag: not found")
        return follow(node, names)

    def find_cid(self, text: str, what: str) -> Node | None:
        """The node of a CID that a client sent, or None where the server's node does not have it.

        :raises RpcError: where it is no CID.
        """
        try:
            if len(decode_multibase(text)) < 34:
                raise ValueError("cid too short")
        except ValueError as error:
            raise RpcError(UNKNOWN, f"invalid {what} cid: {error}") from None
        return self.world.ipfs.find(text)

    def links(self, bucket: Bucket, path: str = "") -> bucketsd_pb2.LinksResponse:
        """Where a gateway would have a path."""
        below = f"/{path}" if path else ""
        token = "?token=" if bucket.private else ""
        gateway = self.world.gateway
        return bucketsd_pb2.LinksResponse(
            url=f"{gateway}/thread/{bucket.thread}/buckets/{bucket.key}{below}{token}",
            ipns=f"{gateway}/ipns/{bucket.key}{below}{token}",
        )


@contextmanager
def within(doing: str, code: int = UNKNOWN) -> Iterator[None]:
    """Refuse what is refused in the block as the real server does, which asks itself and quotes its own answer.

    :param doing: what it says before that; where it is empty, the refusal is passed on as it is.
    """
    try:
        yield
    except RpcError as error:
        if not doing:
            raise
        text = f"{doing}: rpc error: code = {CODE_NAMES[error.code]} desc = {error.text}"
        raise RpcError(code, text) from None


def identity_of(call: Call) -> str:
    """The public key string of the caller, empty for nobody in particular."""
    identity = call.identity
    return identity.public_key if isinstance(identity, Identity) else ""


def clean_path(path: str) -> str:
    """A path as the server keeps it: one leading slash dropped, nothing else.

    :raises RpcError: for a path with the seed's name anywhere in it.
    """
    if SEED in path:
        raise RpcError(UNKNOWN, f"paths containing {SEED} are not allowed")
    return path.removeprefix("/")


def segments_of(path: str) -> list[str]:
    """The names of a path."""
    return [segment for segment in path.split("/") if segment]


def with_root(number: int, bucket: Bucket) -> bytes:
    """A Root as a field, to be appended to the rest of a message."""
    return field(number, bucket.encoded())
