"""Sharded directories are those that a real node makes, and it reads ours."""

import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ipfsreg.ipfs import hamt
from ipfsreg.ipfs.cid import CID, DAG_PB, cid_of, parse_cid, raw_cid
from ipfsreg.ipfs.dag_pb import PBLink, PBNode, decode_node, encode_node
from ipfsreg.ipfs.hamt import THRESHOLD, Block, changed, entries, estimated_size, find, is_large, is_shard, shard_of
from ipfsreg.ipfs.unixfs import encode_directory

from .backend import unique_folder
from .node import KuboNode

CONTENT = b"one small file"
FILE = raw_cid(sha256(CONTENT).digest())


def entry(name: str) -> PBLink:
    return PBLink(FILE, name, len(CONTENT))


def names(count: int, of: str) -> list[str]:
    """As long as those of blobs."""
    return [sha256(f"{of} {number}".encode()).hexdigest() for number in range(count)]


def in_order(names: Iterable[str]) -> list[PBLink]:
    return [entry(name) for name in sorted(names)]


def root_of(node: PBNode | None) -> Block:
    assert node is not None
    block = encode_node(node)
    return cid_of(DAG_PB, block), block


class Directories:
    """A node's directories; all they have in them is `FILE`."""

    def __init__(self, node: KuboNode, scratch: Path) -> None:
        self.node = node
        self.top = unique_folder()
        self._scratch = scratch
        node.command("add", "--cid-version=1", "--quieter", data=CONTENT)
        node.rpc("files/mkdir", self.top, parents=True)

    def add(self, names: Iterable[str]) -> CID:
        """`ipfs add -r` of a directory."""
        file, directory = self._scratch / "file", self._scratch / "directory"
        file.write_bytes(CONTENT)
        directory.mkdir()
        for name in names:
            (directory / name).hardlink_to(file)
        return parse_cid(self.node.command("add", "-r", "--quieter", "--cid-version=1", str(directory)).strip())

    def put(self, blocks: Iterable[Block]) -> None:
        """`ipfs block put`; the node has to give each the CID that we gave it."""
        made = dict(blocks)
        files = [self._scratch / str(cid) for cid in made]
        for file, block in zip(files, made.values(), strict=True):
            file.write_bytes(block)
        put = self.node.command("block", "put", "--cid-codec=dag-pb", *map(str, files))
        assert sorted(put.split()) == sorted(map(str, made))

    def listed(self, cid: CID) -> list[PBLink]:
        """`ipfs ls`, of what the node has itself."""
        (answer,) = self.node.rpc("ls", str(cid), offline=True)
        found = answer["Objects"][0]["Links"]
        return sorted(
            (PBLink(parse_cid(each["Hash"]), each["Name"], each["Size"]) for each in found), key=lambda link: link.name
        )

    def open(self, name: str, cid: CID) -> None:
        """Have a directory in the node's MFS, to change it there."""
        self.node.rpc("files/cp", f"/ipfs/{cid}", f"{self.top}/{name}", offline=True)

    def change(self, name: str, changes: Mapping[str, PBLink | None]) -> CID:
        """Let the node change it, one entry after the other; answers what became of it."""
        for each, link in changes.items():
            if link is not None:
                self.node.rpc("files/cp", f"/ipfs/{link.cid}", f"{self.top}/{name}/{each}", flush=False)
        removed = [f"{self.top}/{name}/{each}" for each, link in changes.items() if link is None]
        if removed:
            assert self.node.rpc("files/rm", *removed) == []
        return parse_cid(self.node.rpc("files/flush", f"{self.top}/{name}")[0]["Cid"])

    def block(self, cid: CID) -> bytes:
        url = f"{self.node.url}/api/v0/block/get?arg={cid}&offline=true"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=30) as answer:
            return bytes(answer.read())

    async def load(self, cid: CID) -> PBNode:
        return decode_node(await deferToThread(self.block, cid))


@pytest.fixture
def directories(node: KuboNode, tmp_path: Path) -> Directories:
    return Directories(node, tmp_path)


@pytest.mark.parametrize("count", [3000, 12_000])
@pytest_twisted.ensureDeferred
async def test_the_node_makes_the_same(directories: Directories, count: int) -> None:
    before = names(count, "node")
    cid, _ = root_of(shard_of(map(entry, before))[0])
    assert directories.add(before) == cid
    node = await directories.load(cid)
    assert is_shard(node)
    assert await entries(directories.load, node) == in_order(before)
    assert await find(directories.load, node, before[7]) == entry(before[7])
    assert await find(directories.load, node, "another") is None

    changes = dict.fromkeys(before[:25]) | {name: entry(name) for name in names(25, "more")}
    after, _ = await changed(directories.load, node, changes)
    directories.open("changed", cid)
    assert directories.change("changed", changes) == root_of(after)[0]
    assert root_of(after) == root_of(shard_of(map(entry, before[25:] + names(25, "more")))[0])


@pytest_twisted.ensureDeferred
async def test_the_node_lists_what_we_make(directories: Directories) -> None:
    ours = names(3000, "ours")
    node, blocks = shard_of(map(entry, ours))
    directories.put([*blocks, root_of(node)])
    cid, _ = root_of(node)
    assert directories.listed(cid) == in_order(ours)
    assert directories.node.command("cat", f"/ipfs/{cid}/{ours[7]}").encode() == CONTENT

    more = names(300, "ours as well")
    changes = dict.fromkeys(ours[:300]) | {name: entry(name) for name in more}
    after, blocks = await changed(directories.load, node, changes)
    directories.put([*blocks, root_of(after)])
    assert directories.listed(root_of(after)[0]) == in_order(ours[300:] + more)


@pytest_twisted.ensureDeferred
async def test_names_that_share_most_of_their_hash(directories: Directories) -> None:
    """Child shards come to be several levels down, and go."""
    many = [str(number) for number in range(20_000)]
    shared = Counter(hamt._hash(name)[:3] for name in many)
    together = [name for name in many if shared[hamt._hash(name)[:3]] > 1]
    assert len(together) > 10
    rest = names(3000, "others")
    node, blocks = shard_of(map(entry, rest))
    directories.put([*blocks, root_of(node)])
    directories.open("deep", root_of(node)[0])
    states: list[dict[str, PBLink | None]] = [
        {name: entry(name) for name in together},
        dict.fromkeys(together[::2]),
        dict.fromkeys(together[1::2]),
    ]
    current: PBNode | None = node
    for changes in states:
        assert current is not None
        current, _ = await changed(directories.load, current, changes)
        assert directories.change("deep", changes) == root_of(current)[0]
    assert current == node


@pytest_twisted.ensureDeferred
async def test_where_the_node_begins_to_shard(directories: Directories) -> None:
    each = len(FILE.binary)
    filled, rest = divmod(THRESHOLD - each - 1, each + 64)
    below = [*map(entry, names(filled - 1, "edge")), entry("x" * (rest + 64))]
    at, above = [*below, entry("y")], [*below, entry("yyyy")]
    assert estimated_size(at) == THRESHOLD
    assert estimated_size(above) == THRESHOLD + 3  # by less, and the node would take it back: see `THRESHOLD`
    block = encode_directory(below)
    directories.put([(cid_of(DAG_PB, block), block)])
    directories.open("edge", cid_of(DAG_PB, block))
    assert directories.change("edge", {"y": entry("y")}) == cid_of(DAG_PB, encode_directory(at))
    cid = directories.change("edge", {"yyyy": entry("yyyy")})
    assert cid == root_of(shard_of([*at, entry("yyyy")])[0])[0]
    cid = directories.change("edge", {"y": None})
    assert cid == root_of(shard_of(above)[0])[0]
    assert await is_large(directories.load, await directories.load(cid))
    assert directories.change("edge", {"yyyy": None}) == cid_of(DAG_PB, block)

    node, blocks = shard_of(at)  # a node would not come to this one
    directories.put([*blocks, root_of(node)])
    assert not await is_large(directories.load, node)
