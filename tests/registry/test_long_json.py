"""A long JSON text is read as Python's own parser reads it, in steps of which none is long."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from ipfsreg.registry import long_json
from ipfsreg.registry.long_json import SLICE, LongText
from tests.full import examples, some

from .test_documents import MiB, costly
from .test_manifest import json_values

DECODER = json.JSONDecoder()
TOKENS = (
    *'[]{},:" \n\t\f', '"a"', '"b":', '{"a":', "[1,", "],", "},", "1", "-", "0", ".5", "e+", "null", "NaN", "\\",
    "\\u00e9", "é",
)  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.sampled_from(TOKENS)).map("".join),
    json_values.map(json.dumps),
    json_values.map(lambda each: json.dumps(each, indent=1)),
)


def outcome(read: Any, text: str) -> str:
    try:
        return repr(read(text))
    except ValueError:
        return "not JSON"


@given(TEXTS, st.integers(0, 200), st.sampled_from([1, 2, 5, 30, SLICE]), st.integers(0, 3))
@example('{"a": 1, "a": [2, {"b": 3}]} ', 200, 2, 1)
@example("[1.5e+3, -0.0, 12345678901234567890]", 200, 2, 0)
def test_it_reads_what_python_reads(text: str, cut: int, a_slice: int, tried: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_json, "SLICE", a_slice)
        patch.setattr(long_json, "TRIED", tried)
        for each in (text, text[:cut], text[: cut // 2] + text[cut // 2 + 1 :]):
            assert outcome(lambda text: LongText(text, DECODER).read(), each) == outcome(DECODER.decode, each)


class Steps(json.JSONDecoder):
    """Notes what it is given to read at a time, but for single strings and numbers: those are what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0
        self.all = 0

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        if s[idx] not in "[{":
            return super().raw_decode(s, idx)
        length = len(s) - idx
        try:
            value, end = super().raw_decode(s, idx)
            length = end - idx
        finally:
            self.longest, self.all = max(self.longest, len(s) - idx), self.all + length
        return value, end


DEEP = ("[" * 900 + f'"{"a" * 2 * SLICE}"' + "]" * 900 + ",") * 16
LONG: dict[str, Callable[[], str]] = {
    "long texts in many brackets": lambda: f"[{DEEP}1]",
    "annotations of many": lambda: json.dumps({"annotations": {f"{number}": "a" for number in range(100_000)}}),
    "descriptors": lambda: json.dumps({"layers": [{"digest": f"sha256:{number:064}"} for number in range(10_000)]}),
}


@cache
def long_documents() -> dict[str, bytes]:
    return costly(examples(MiB // 4, MiB))


@pytest.mark.parametrize("name", [*some(8, list(costly(10))), *LONG])
def test_no_step_is_long(name: str) -> None:
    """How long a step takes is the machine's matter: its length is what is bounded, and the sum of them."""
    text = LONG[name]() if name in LONG else long_documents()[name].decode()
    steps = Steps()
    with suppress(ValueError, RecursionError):
        LongText(text, steps).read()
    assert steps.longest <= SLICE
    assert steps.all <= (long_json.TRIED + 2) * (len(text) + SLICE)
