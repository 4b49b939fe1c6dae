"""How paths are written at the server."""

from hypothesis import example, given
from hypothesis import strategies as st

from ipfsreg.bucket.textile.paths import SEED, fold, from_server, to_server, unfold

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


@given(st.text(st.sampled_from("ab~,;/.-012") | st.characters(codec="utf-8"), min_size=1))
@example("repositories/team/app/_tags/v1")
def test_a_folded_path_is_one_name_in_a_directory(path: str) -> None:
    there = fold(path)
    directory, name = there.split("/")
    assert len(directory) == 2
    assert SEED not in there or SEED in path
    assert unfold(f"{directory}/{name}") == path


@given(st.text("ab/,;~", min_size=1), st.text("ab/,;~", min_size=1))
def test_no_folded_name_begins_with_another(one: str, other: str) -> None:
    """A removal takes away the entries of all paths that begin with the same letters."""
    assert one == other or not fold(one).partition("/")[2].startswith(fold(other).partition("/")[2])


@given(st.text("0123456789abcdef/,;~", max_size=12))
@example("c1/a,b;")
def test_what_is_no_folded_path_is_passed_over(there: str) -> None:
    path = unfold(there)
    assert path is None or fold(path) == there
