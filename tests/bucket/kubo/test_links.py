"""A long listing of a directory, read link by link."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.reading import contents
from ipfsreg.bucket.kubo.reading.contents import links_in

NAMES = some.lists(some.text() | some.sampled_from(['"Links":[', "]", "},{", "\\", "\u2028", '"']), max_size=5)


def answer_with(names: list[str]) -> bytes:
    """As Go writes it."""
    links = [{"Name": name, "Hash": "bafy", "Size": 1, "Type": 2, "Target": ""} for name in names]
    document = {"Objects": [{"Hash": "bafy", "Links": links}]}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") + b"\n"


@pytest.fixture(autouse=True)
def _any_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_LONG", 0)


@given(NAMES)
def test_it_is_what_the_parser_reads(names: list[str]) -> None:
    answer = answer_with(names)
    assert list(links_in(answer)) == json.loads(answer)["Objects"][0]["Links"]


@given(NAMES, some.integers(0, 200))
def test_one_that_was_cut_off_is_none(names: list[str], left: int) -> None:
    answer = answer_with(names)
    begin = answer.index(b'"Links":[') + len(b'"Links":[')
    with pytest.raises(Unavailable):
        list(links_in(answer[: min(begin + left, len(answer) - 5)]))


def test_no_links() -> None:
    assert list(links_in(b'{"Objects":[{"Hash":"bafy","Links":null}]}\n')) == []
