"""Blocks in memory, and DAGs of forms that this registry does not write itself."""

from collections.abc import Sequence

from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, cid_of
from ipfsreg.ipfs.dag_pb import PBLink, PBNode, encode_node
from ipfsreg.ipfs.unixfs import FILE, HAMT_SHARD, RAW_LEAF, UnixFS, encode_directory, encode_unixfs


class Blocks:
    """Blocks by CID."""

    def __init__(self) -> None:
        self.blocks: dict[CID, bytes] = {}

    def get(self, cid: CID) -> bytes:
        """See `GetBlock`."""
        return self.blocks[cid]

    def put(self, codec: int, block: bytes) -> CID:
        cid = cid_of(codec, block)
        self.blocks[cid] = block
        return cid

    def raw(self, data: bytes) -> CID:
        """A raw leaf."""
        return self.put(RAW, data)

    def file(self, parts: Sequence[tuple[CID, int]], data: bytes = b"", *, kind: int = FILE) -> CID:
        """A node of a file, with some of its bytes in itself and links to the rest."""
        sizes = [size for _, size in parts]
        unixfs = UnixFS(kind, data, len(data) + sum(sizes), sizes)
        return self.put(
            DAG_PB, encode_node(PBNode([PBLink(cid, "", size) for cid, size in parts], encode_unixfs(unixfs)))
        )

    def leaf(self, data: bytes) -> CID:
        """A leaf in dag-pb, as CIDv0 has it."""
        return self.file([], data, kind=RAW_LEAF)

    def directory(self, **entries: CID) -> CID:
        return self.put(DAG_PB, encode_directory(PBLink(cid, name, 0) for name, cid in entries.items()))

    def shard(self, entries: Sequence[tuple[str, CID]]) -> CID:
        """A part of a sharded directory: a link without a name leads to another part."""
        links = [PBLink(cid, f"{number:02X}{name}", 0) for number, (name, cid) in enumerate(entries)]
        return self.put(DAG_PB, encode_node(PBNode(links, encode_unixfs(UnixFS(HAMT_SHARD)))))
