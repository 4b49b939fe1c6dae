"""The grammars of names, tags and digests."""

import hashlib
import string

import hypothesis.strategies as st
import pytest
from hypothesis import assume, example, given

from ipfsreg.registry.digest import HEX_LENGTHS, Digest, digest_of, new_hash, parse_digest
from ipfsreg.registry.errors import DigestInvalid, NameInvalid, TagInvalid
from ipfsreg.registry.names import NAME_MAX, is_component, parse_repository, parse_tag

ALPHANUMERIC = string.ascii_lowercase + string.digits

components = st.builds(
    lambda first, rest: first + "".join(separator + word for separator, word in rest),
    st.text(ALPHANUMERIC, min_size=1, max_size=8),
    st.lists(
        st.tuples(st.sampled_from([".", "_", "__", "-", "--", "---"]), st.text(ALPHANUMERIC, min_size=1, max_size=4)),
        max_size=3,
    ),
)
repositories = st.lists(components, min_size=1, max_size=5).map("/".join).filter(lambda name: len(name) <= NAME_MAX)
tags = st.builds(
    lambda first, rest: first + rest,
    st.sampled_from(string.ascii_letters + string.digits + "_"),
    st.text(string.ascii_letters + string.digits + "_.-", max_size=127),
)


def _digests(algorithm: str, length: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=length, max_size=length).map(lambda hex_: f"{algorithm}:{hex_}")


digests = st.one_of(*(_digests(algorithm, length) for algorithm, length in HEX_LENGTHS.items()))


def mutations(text: str) -> list[str]:
    algorithm, _, hex_ = text.partition(":")
    return [
        hex_,
        f"{algorithm}:",
        f"{algorithm}:{hex_[1:]}",
        f"{algorithm}:{hex_}0",
        f"{algorithm}:{hex_}\n",
        f"{algorithm}:{hex_[1:]}G",
        f"{algorithm}:{hex_[1:]}A",
        f"{algorithm.upper()}:{hex_}",
        f"md5:{hex_}",
        f"{algorithm}::{hex_}",
        f"{algorithm}:{hex_}".replace("0", "\u0660"),
    ]


EXAMPLES = [f"sha256:{'0a' * 32}", f"sha512:{'0a' * 64}"]


@given(repositories)
def test_repositories(name: str) -> None:
    assert parse_repository(name) == name
    assert all(is_component(part) for part in name.split("/"))


@given(st.one_of(st.text(max_size=40), st.text(ALPHANUMERIC + "._-/", max_size=20)))
@example("")
@example("/a")
@example("a/")
@example("a//b")
@example("a/../b")
@example("..")
@example(".a")
@example("a.")
@example("a___b")
@example("a..b")
@example("A")
@example("a\n")
@example("ä")
@example("a/_tags")
@example("\u0663")  # a digit, but not one of the grammar's
@example("a" * 256)
def test_other_repositories(name: str) -> None:
    """What is not accepted is refused as that and in no other way; what is accepted is a safe path."""
    try:
        accepted = parse_repository(name)
    except NameInvalid:
        return
    assert accepted == name
    assert len(name) <= 255
    assert set(name) <= set(ALPHANUMERIC + "._-/")
    for part in name.split("/"):
        assert part[0] in ALPHANUMERIC
        assert part[-1] in ALPHANUMERIC
        assert "___" not in part
        assert ".." not in part


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "..", "a/../b", ".a", "a.", "a___b", "a..b", "a._b", "A", "a\n", "ä", "a/_b"]
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(NameInvalid):
        parse_repository(name)


@given(tags)
def test_tags(tag: str) -> None:
    assert parse_tag(tag) == tag


@given(st.one_of(st.text(max_size=40), st.text(string.ascii_letters + "_.-/", max_size=140)))
@example("a\n")
@example("a" * 129)
def test_other_tags(tag: str) -> None:
    try:
        parse_tag(tag)
    except TagInvalid:
        return
    assert 1 <= len(tag) <= 128
    assert set(tag) <= set(string.ascii_letters + string.digits + "_.-")
    assert tag[0] not in ".-"


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "a:b", "a b", "ä", "a\n", "a" * 129])
def test_tags_that_are_refused(tag: str) -> None:
    with pytest.raises(TagInvalid):
        parse_tag(tag)


@given(digests)
def test_digests(text: str) -> None:
    digest = parse_digest(text)
    assert str(digest) == text
    assert parse_digest(str(digest)) == digest
    assert digest == Digest(*text.split(":"))


@given(st.one_of(st.text(max_size=80), digests.flatmap(lambda text: st.sampled_from(mutations(text)))))
def test_other_digests(text: str) -> None:
    try:
        digest = parse_digest(text)
    except DigestInvalid:
        return
    assert str(digest) == text


@pytest.mark.parametrize("text", [each for digest in EXAMPLES for each in mutations(digest)])
def test_digests_that_are_refused(text: str) -> None:
    with pytest.raises(DigestInvalid):
        parse_digest(text)


def test_a_long_one_is_not_sent_back_in_full() -> None:
    with pytest.raises(DigestInvalid) as error:
        parse_digest("sha256:" + "0" * 100_000)
    assert len(str(error.value.detail)) < 400


@given(digests.map(parse_digest), digests.map(parse_digest))
def test_digests_sort_as_the_bucket_lists_them(one: Digest, other: Digest) -> None:
    """The scrub goes on behind the last one that it has seen."""
    assume(one != other)
    paths = [(each.algorithm, each.hex[:2], each.hex) for each in (one, other)]
    assert (one < other) == (paths[0] < paths[1])


@given(st.binary(max_size=100), st.sampled_from(sorted(HEX_LENGTHS)))
def test_the_digest_of_content(content: bytes, algorithm: str) -> None:
    hash_ = new_hash(algorithm)
    hash_.update(content[:50])
    copy = hash_.copy()
    copy.update(content[50:])
    assert digest_of(content, algorithm) == Digest(algorithm, copy.hexdigest())
    assert digest_of(content, algorithm).hex == hashlib.new(algorithm, content).hexdigest()
    assert parse_digest(str(digest_of(content, algorithm)))
