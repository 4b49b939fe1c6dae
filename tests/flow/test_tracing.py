"""What a request asks of others is begun and ended."""

from collections.abc import Mapping

import pytest
from twisted.internet.defer import Deferred

from ipfsreg.flow.tracing import Span, current, traced


class Recorded:
    """A `Span` that remembers its end."""

    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.children: list[Recorded] = []
        self.ends: list[BaseException | None] = []

    def child(self, name: str) -> Span:
        self.children.append(Recorded())
        return self.children[-1]

    def end(self, error: BaseException | None = None) -> None:
        self.ends.append(error)


def test_a_call_that_fails_at_once_has_an_end_too() -> None:
    problem = ValueError("at once")

    def call() -> "Deferred[None]":
        raise problem

    span = Recorded()
    outer = current.set(span)
    try:
        with pytest.raises(ValueError, match="at once"):
            traced("call", call)
        assert current.get() is span
    finally:
        current.reset(outer)
    assert [child.ends for child in span.children] == [[problem]]
