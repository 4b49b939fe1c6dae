"""Files as DAGs: what Kubo and npm's importer gave for the same bytes, and what must be true of any."""

import hashlib

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ipfsreg.ipfs.cid import verify_block
from ipfsreg.ipfs.dag_pb import decode_node
from ipfsreg.ipfs.file_dag import PROFILE, BlockPlace, FileDag, Profile
from ipfsreg.ipfs.unixfs import FILE, decode_unixfs

from .files import KUBO_SMALL, content, file_dag

MiB = 1024 * 1024


@pytest.mark.parametrize(
    ("length", "profile", "cid", "total"),
    [
        (0, PROFILE, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", 0),
        (696, KUBO_SMALL, "bafybeigqdtikuvd777plvgtdtzz6qntxtjvlsxjid3d5wbucfktljakdhy", 8708),
        (697, KUBO_SMALL, "bafybeigp65u474btrywzqezhlswc2ibhoxfqjiltmdepxmn7hibc2m6wmy", 8862),
        (1000, KUBO_SMALL, "bafybeifcihhaznxu4dco34ydntft5y4rayh55ivuvipcdxju7qf64wsgla", 12619),
        (10**6, Profile(262144, 174), "bafybeihtwwafdewikj6gdavdup3a6rt3pjju5dqkmhd27pphnljqoklbce", 1000208),
        (3 * 10**6, PROFILE, "bafybeibkovjoniohghf2hxlqmd3cpuifcyqj6g6ivzi7nhr72rptbknvsa", 3000159),
    ],
)
def test_known_files(length: int, profile: Profile, cid: str, total: int) -> None:
    dag = file_dag(content(length), profile)
    assert str(dag.cid) == cid
    assert sum(dag.block_size(place) for place in dag.walk(dag.root)) == total


def test_a_block_as_kubo_writes_it() -> None:
    dag = file_dag(b"hello world", Profile(4, 174))
    assert str(dag.cid) == "bafybeighmzuokpuzyho2ninhgybpych6atkhbn2o57c3hlyer2hntezxly"
    assert dag.block(dag.root).hex() == (
        "122a0a24015512200ebdc3317b75839f643387d783535adc360ca01f33c75f7c1e7373adcd675c0b12001804"
        "122a0a24015512208af8e662a3b251ef02d2ed85745535086af77aa1ac63a4f5f800f501c8e5d09312001804"
        "122a0a240155122085c76dcae2299d2235c793fe3425bd88376f5c4721cfddc1c9a9c452c20c5d3312001803"
        "0a0a0802180b200420042003"
    )


profiles = st.builds(Profile, st.integers(1, 5), st.integers(2, 5))


@given(st.integers(0, 200), profiles)
def test_the_blocks_are_the_file(length: int, profile: Profile) -> None:
    """Read as a stranger would: from the root, by what the blocks say."""
    data = content(length)
    dag = file_dag(data, profile)
    blocks = {}
    for place in dag.walk(dag.root):
        first, end = dag.range_at(place)
        block = dag.block(place) if place.level else data[first:end]
        assert len(block) == dag.block_size(place)
        verify_block(dag.cid_at(place), block)
        blocks[dag.cid_at(place)] = block

    def read(place: BlockPlace) -> bytes:
        block = blocks[dag.cid_at(place)]
        if not place.level:
            return block
        node = decode_node(block)
        message = decode_unixfs(node.data)
        parts = [read(child) for child in dag.children(place)]
        assert [link.cid for link in node.links] == [dag.cid_at(child) for child in dag.children(place)]
        below = [sum(map(dag.block_size, dag.walk(child))) for child in dag.children(place)]
        assert [link.size for link in node.links] == below
        assert (message.kind, message.size) == (FILE, sum(map(len, parts)))
        assert message.block_sizes == [len(part) for part in parts]
        assert len(node.links) <= profile.links
        return b"".join(parts)

    assert read(dag.root) == data
    assert {place for place in dag.walk(dag.root) if place.level} == set(dag.inner_nodes())


@given(st.integers(1, 200), profiles, st.data())
def test_a_part_of_the_file(length: int, profile: Profile, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(first + 1, length))
    dag = file_dag(content(length), profile)
    walked = list(dag.walk(dag.root, first, end))
    wanted = [place for place in dag.walk(dag.root) if dag.range_at(place)[1] > first and dag.range_at(place)[0] < end]
    assert walked == wanted


def test_hashes_that_do_not_go_with_the_size_are_refused() -> None:
    leaf = hashlib.sha256(b"").digest()
    for leaves, size in ((b"", 0), (leaf + leaf, 0), (leaf, PROFILE.chunk + 1), (leaf[:-1], 5)):
        with pytest.raises(ValueError, match="do not go with"):
            FileDag(leaves, size)


@pytest.mark.parametrize("leaves", [1023, 1024, 1025])
def test_a_node_that_is_full_and_its_neighbours(leaves: int) -> None:
    """See `test_importer` for the same against another implementation."""
    dag = FileDag(bytes(32) * leaves, leaves * MiB)
    assert [dag.count(level) for level in range(dag.root.level + 1)] == ([leaves, 1] if leaves < 1025 else [1025, 2, 1])
    assert dag.range_at(BlockPlace(1, 0)) == (0, min(leaves, 1024) * MiB)
