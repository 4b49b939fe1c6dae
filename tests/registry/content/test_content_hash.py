"""The hash of content on its way in, however it comes in pieces."""

import hashlib
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from ipfsreg.ipfs.file_dag import Profile
from ipfsreg.registry.content import content_hash
from ipfsreg.registry.content.content_hash import ContentHash, leaves_of
from tests.full import examples

CHUNK = 16


@pytest.fixture(scope="module", autouse=True)
def _short_chunks() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_hash, "PROFILE", Profile(chunk=CHUNK))
        yield


def expected(data: bytes) -> bytes:
    chunks = [data[begin : begin + CHUNK] for begin in range(0, len(data), CHUNK)] or [b""]
    return b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)


@settings(max_examples=examples(30, 300))
@given(st.lists(st.integers(0, 3 * CHUNK), max_size=8), st.data())
def test_it_is_that_of_the_whole_and_of_each_chunk(lengths: list[int], data: st.DataObject) -> None:
    copied = data.draw(st.integers(0, len(lengths)))
    content = Random(str(lengths)).randbytes(sum(lengths))
    hash_, begin = ContentHash(), 0
    for number, length in enumerate(lengths):
        if number == copied:  # as for a request that goes on with a session: the first one must not notice
            former, hash_ = hash_, hash_.copy()
            former.update(b"something else, of more than a chunk")
        hash_.update(content[begin : begin + length])
        begin += length
    assert hash_.hexdigest() == hashlib.sha256(content).hexdigest()
    assert hash_.leaves == expected(content) == leaves_of(content)


@given(st.lists(st.integers(0, 3 * CHUNK), max_size=8), st.lists(st.integers(0, 3 * CHUNK), max_size=8))
def test_its_two_sides_know_nothing_of_each_other(lengths: list[int], others: list[int]) -> None:
    """The whole may be ahead of the leaves, or behind them: they are at work in two threads."""
    content = Random(1).randbytes(min(sum(lengths), sum(others)))
    hash_ = ContentHash()
    for update, steps in ((hash_.update_chunks, others), (hash_.update_whole, lengths)):
        begin = 0
        for length in steps:
            update(content[begin : begin + length])
            begin += length
    assert (hash_.digest(), hash_.leaves) == (hashlib.sha256(content).digest(), expected(content))
