"""Files and directories as an IPFS node has them: values that never change, known by their CIDs.

The sizes are IPFS's own arithmetic. The CID of a directory is not: it is a digest that depends on the same
things (name, CID and size of each entry) but can be brought up to date without looking at all entries again,
so that a push into a large bucket costs no more than into a small one.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from weakref import WeakValueDictionary

from tests.grpcweb_double.call import UNKNOWN, RpcError
from tests.grpcweb_double.wire import varint_length

from .content import Content, ContentStore, Synthetic
from .identity import decode_multibase
from .unixfs import DAG_PB, RAW, FileBuilder, cid_bytes, cid_string, dag_size_of_file

ENCRYPTION_OVERHEAD = 84
"""Bytes that Textile's encryption adds to a file or folder (docs/protocols/textile.md, "Private buckets")."""

SEED = ".textileseed"
"""The name of the file that each bucket has from the start, and that no client may touch."""

_MODULUS = 1 << 256

TOO_BIG = (
    "produced block is over 1MiB: big blocks can't be exchanged with other peers. consider using UnixFS for "
    "automatic sharding of large files, bypass this check with --allow-big-block"
)


class _Named:
    """What has a CID. Its text is made only when somebody asks: there are far more nodes than questions."""

    __slots__ = ("__weakref__", "_cid", "binary_cid")

    def __init__(self, binary_cid: bytes) -> None:
        self.binary_cid = binary_cid
        self._cid = ""

    @property
    def cid(self) -> str:
        """The CID as it is written."""
        if not self._cid:
            self._cid = cid_string(self.binary_cid)
        return self._cid


class File(_Named):
    """A file. `dag_size` is of what IPFS stores, which is ciphertext where private; `raw`: one raw block."""

    __slots__ = ("content", "dag_size", "private", "raw")
    is_directory = False

    def __init__(self, binary_cid: bytes, content: Content, dag_size: int, *, raw: bool, private: bool) -> None:
        super().__init__(binary_cid)
        self.content = content
        self.dag_size = dag_size
        self.raw = raw
        self.private = private


class Directory(_Named):
    """A directory. `block_size` is the size of its own block, `dag_size` of all below it too."""

    __slots__ = ("_below", "_digest", "_links", "block_size", "dag_size", "entries", "private")
    is_directory = True

    def __init__(self, entries: dict[str, "Node"], links: int, below: int, digest: int, private: bool) -> None:
        self.entries: Mapping[str, Node] = entries
        self.private = private
        self._links = links
        self._below = below
        self._digest = digest
        # A directory's unixfs data takes 4 bytes; a private one is encrypted, and wrapped into a file node.
        self.block_size = links + (ENCRYPTION_OVERHEAD + 14 if private else 4)
        self.dag_size = self.block_size + below
        if private:
            super().__init__(random_cid(DAG_PB))
        else:
            super().__init__(cid_bytes(DAG_PB, hashlib.sha256(digest.to_bytes(32, "big")).digest()))

    def replace(self, name: str, node: "Node | None") -> "Directory":
        """The directory with an entry added, replaced, or taken away."""
        entries = dict(self.entries)
        links, below, digest = self._links, self._below, self._digest
        old = entries.pop(name, None)
        if old is not None:
            links -= _link_size(name, old)
            below -= old.dag_size
            digest -= _link_digest(name, old)
        if node is not None:
            entries[name] = node
            links += _link_size(name, node)
            below += node.dag_size
            digest += _link_digest(name, node)
        return Directory(entries, links, below, digest % _MODULUS, self.private)


Node = File | Directory


def _link_size(name: str, node: Node) -> int:
    name_size = len(name.encode())
    inside = 38 + 1 + varint_length(name_size) + name_size + 1 + varint_length(node.dag_size)
    return 1 + varint_length(inside) + inside


def _link_digest(name: str, node: Node) -> int:
    link = node.binary_cid + f"{node.dag_size}/{name}".encode()
    return int.from_bytes(hashlib.sha256(link).digest(), "big")


def random_cid(codec: int) -> bytes:
    """A CID of something random."""
    return cid_bytes(codec, secrets.token_bytes(32))


class Ipfs:
    """The server's IPFS node: what is somewhere in a bucket, by CID. The rest is gone at once."""

    def __init__(self, directory_block: int | None) -> None:
        self.directory_block = directory_block
        self._nodes: WeakValueDictionary[bytes, File | Directory] = WeakValueDictionary()

    def find(self, cid: str) -> Node | None:
        """The node of a CID, if it is there. Nothing is there under what is no CID."""
        try:
            return self._nodes.get(decode_multibase(cid))
        except ValueError:
            return None

    def rename(self, node: Node, cid: str) -> None:
        """Give a node a CID that it cannot have, for a test that replays what somebody once recorded."""
        node.binary_cid, node._cid = decode_multibase(cid), cid
        self._nodes[node.binary_cid] = node

    def _know(self, node: Directory) -> Directory:
        known = self._nodes.setdefault(node.binary_cid, node)
        return known if isinstance(known, Directory) else node

    def add_file(self, cid: bytes, content: Content, dag_size: int, *, raw: bool) -> File:
        """A plaintext file that was added; the same node again for the same content."""
        known = self._nodes.get(cid)
        if isinstance(known, File):
            return known
        file = File(cid, content, dag_size, raw=raw, private=False)
        self._nodes[cid] = file
        return file

    def add_private_file(self, content: Content) -> File:
        """An encrypted file: its CID differs each time, its size is the ciphertext's."""
        size = content.size + ENCRYPTION_OVERHEAD
        dag_size = dag_size_of_file(size)
        raw = dag_size == size
        file = File(random_cid(RAW if raw else DAG_PB), content, dag_size, raw=raw, private=True)
        self._nodes[file.binary_cid] = file
        return file

    def empty_directory(self, private: bool) -> Directory:
        """A directory with nothing in it."""
        return self._know(Directory({}, 0, 0, 0, private))

    def new_bucket_root(self, store: ContentStore, private: bool) -> Directory:
        """A directory with nothing but a seed file."""
        return self.with_seed(store, self.empty_directory(private))

    def with_seed(self, store: ContentStore, root: Directory) -> Directory:
        """A directory with a new seed: 32 random bytes, which make each bucket's root another one."""
        kept, store.keep = store.keep, True
        seed = self.store_file(store, secrets.token_bytes(32), root.private)
        store.keep = kept
        return self.put(root, [SEED], seed)

    def store_file(self, store: ContentStore, data: bytes, private: bool) -> File:
        """A file of bytes that are all at hand."""
        writer = store.writer()
        writer.write(data)
        if private:
            return self.add_private_file(writer.finish())
        builder = FileBuilder()
        builder.update(data)
        cid, dag_size, raw = builder.finish()
        return self.add_file(cid, writer.finish(), dag_size, raw=raw)

    def put(self, directory: Directory, segments: list[str], node: Node | None) -> Directory:
        """The directory with something put at a path below it, or (None) taken away.

        Directories that are missing are made, but only where something is put.

        :raises RpcError: where a file is in the way, a directory becomes too large, or nothing is there.
        """
        name, *rest = segments
        child = directory.entries.get(name)
        if rest:
            if child is None and node is not None:
                child = self.empty_directory(directory.private)
            if child is None:
                raise RpcError(UNKNOWN, "no link by that name")
            if not isinstance(child, Directory):
                raise RpcError(UNKNOWN, "expected protobuf dag node")
            changed = directory.replace(name, self.put(child, rest, node))
        elif node is None and child is None:
            raise RpcError(UNKNOWN, "no link by that name")
        else:
            changed = directory.replace(name, node)
        if self.directory_block is not None and changed.block_size > self.directory_block:
            raise RpcError(UNKNOWN, TOO_BIG)
        return self._know(changed)

    def encrypt(self, node: Node) -> Node:
        """What a private bucket makes of a node that SetPath names (docs/protocols/textile.md, "Changing").

        :raises RpcError: for a raw block, which the server cannot read as dag-pb.
        """
        if isinstance(node, File):
            if node.raw:
                raise RpcError(UNKNOWN, "resolving remote path: expected protobuf dag node")
            return self.add_private_file(_as_plaintext(node))
        if node.private:
            # An encrypted folder is a file to IPFS; its ciphertext is taken for content.
            return self.add_private_file(Synthetic(node.block_size, node.binary_cid))
        directory = self.empty_directory(True)
        for name, child in node.entries.items():
            if isinstance(child, File) and child.raw:
                encrypted: Node = self.add_private_file(child.content)
            else:
                encrypted = self.encrypt(child)
            directory = self._know(directory.replace(name, encrypted))
        return directory

    def encrypt_again(self, node: Node) -> Node:
        """A private node under a new key: other CIDs, the same content."""
        if isinstance(node, File):
            return self.add_private_file(node.content)
        directory = self.empty_directory(True)
        for name, child in node.entries.items():
            directory = self._know(directory.replace(name, self.encrypt_again(child)))
        return directory


def _as_plaintext(file: File) -> Content:
    if not file.private:
        return file.content
    return Synthetic(file.content.size + ENCRYPTION_OVERHEAD, file.binary_cid)


def follow(node: Node, names: Iterable[str]) -> Node:
    """What is at a path below a node.

    :raises RpcError: with the text of IPFS's resolver.
    """
    for name in names:
        child = node.entries.get(name) if isinstance(node, Directory) else None
        if child is None:
            raise RpcError(UNKNOWN, f'no link named "{name}" under {node.cid}')
        node = child
    return node


def files_below(node: Node, path: str = "") -> dict[str, File]:
    """All files of a directory by their paths."""
    if isinstance(node, File):
        return {path: node}
    found: dict[str, File] = {}
    for name, child in node.entries.items():
        found |= files_below(child, f"{path}/{name}" if path else name)
    return found
