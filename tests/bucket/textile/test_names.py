"""Paths that the server would refuse for a name of its own in them."""

from hypothesis import example, given
from hypothesis import strategies as st

from ipfsreg.bucket.textile.names import SEED, from_server, to_server

parts = st.lists(st.sampled_from([".", "~", "textileseed", SEED, "a", "/", "%"]), max_size=12).map("".join)


@given(parts)
@example(SEED)
@example(f"{SEED}{SEED}")
def test_every_path_has_one_of_its_own_there(path: str) -> None:
    there = to_server(path)
    assert SEED not in there
    assert from_server(there) == path
    assert SEED in path or ("~" in path) or there == path


@given(parts.filter(lambda path: SEED not in path))
def test_whatever_is_there_has_one_of_its_own_here(there: str) -> None:
    assert to_server(from_server(there)) == there
