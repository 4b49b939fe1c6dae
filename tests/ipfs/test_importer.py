"""Our CIDs of files are those of npm's ipfs-unixfs-importer, which shares no code with Kubo's."""

from collections.abc import Callable, Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from ipfsreg.ipfs.file_dag import PROFILE, Profile
from tests.full import examples

from .files import content, file_dag
from .javascript import runner

MiB = 1024 * 1024
Import = Callable[[int, Profile], str]


@pytest.fixture(scope="module")
def importer() -> Iterator[Import]:
    """The CID that the importer gives to `content` of a length."""
    runner.install()
    with runner.asking("importer.mjs") as ask:
        yield lambda length, profile: ask({"length": length, "chunk": profile.chunk, "links": profile.links})


@pytest.mark.parametrize("length", [0, 1, MiB - 1, MiB, MiB + 1, 5 * MiB - 1, 5 * MiB])
def test_lengths_around_a_chunk(importer: Import, length: int) -> None:
    assert str(file_dag(content(length), PROFILE).cid) == importer(length, PROFILE)


@pytest.mark.parametrize("chunks", [1023, 1024, 1025, 2048, 2049])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_nodes_that_are_full(importer: Import, chunks: int, more: int) -> None:
    """With short chunks, which change nothing in the form."""
    profile = Profile(chunk=3, links=1024)
    length = chunks * profile.chunk + more
    assert str(file_dag(content(length), profile).cid) == importer(length, profile)


@settings(max_examples=examples(20, 200), deadline=None)
@given(
    length=st.integers(0, 3000),
    profile=st.builds(Profile, chunk=st.integers(1, 64), links=st.integers(2, 12)),
)
@example(length=1000, profile=Profile(1, 10))  # three full levels
@example(length=1001, profile=Profile(1, 10))
@example(length=999, profile=Profile(1, 10))
def test_any_file(importer: Import, length: int, profile: Profile) -> None:
    assert str(file_dag(content(length), profile).cid) == importer(length, profile)
