"""Patterns match what the plain definition says, and cost no more for a hostile name."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.config.patterns import PATTERN_MAX, Pattern


def reference(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*+|\?)", pattern)
    made = [
        "[^/]" if part == "?" else "[^/]*" if part == "*" else ".*" if part.startswith("*") else re.escape(part)
        for part in parts
    ]
    return re.compile("".join(made), re.DOTALL)


@given(st.text("ab/*?", min_size=1, max_size=12), st.text("ab/", max_size=12))
def test_it_matches_as_a_regular_expression_would(pattern: str, name: str) -> None:
    assert Pattern(pattern).matches(name) == bool(reference(pattern).fullmatch(name))


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("team/*", ["team/app", "team/"], ["team", "team/a/b", "teams/app"]),
        ("team/**", ["team/app", "team/a/b"], ["team", "other/team/a"]),
        ("**", ["", "a", "a/b"], []),
        ("*/app", ["x/app", "/app"], ["app", "x/y/app"]),
        ("**/app", ["x/app", "x/y/app"], ["app", "x/apps"]),
        ("app", ["app"], ["app2", "ap", "a/app", ""]),
        ("v?", ["v1"], ["v", "v/", "v12"]),
    ],
)
def test_examples(pattern: str, yes: list[str], no: list[str]) -> None:
    assert all(Pattern(pattern).matches(name) for name in yes)
    assert not any(Pattern(pattern).matches(name) for name in no)


def test_a_pattern_that_would_take_a_regular_expression_for_ever() -> None:
    hostile = Pattern("*a" * 20 + "*b")
    began = time.process_time()
    for _ in range(20):
        assert not hostile.matches("a" * 255)
    assert time.process_time() - began < 2  # a backtracking matcher would take longer than the universe is old


@pytest.mark.parametrize("pattern", ["", "a" * (PATTERN_MAX + 1)])
def test_bounds(pattern: str) -> None:
    with pytest.raises(ValueError, match="a pattern has 1 to 512 characters"):
        Pattern(pattern)
