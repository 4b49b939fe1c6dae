"""What a request asks of others, for who traces it. Nobody does unless the configuration says so."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

P = ParamSpec("P")
T = TypeVar("T")


class Span(Protocol):
    """A piece of work with a beginning and an end. It begins when it is made."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What is sent on with a call, so that the other side can say what it belongs to."""

    def child(self, name: str) -> "Span":
        """Begin a part of it."""

    def end(self, error: BaseException | None = None) -> None:
        """It is over, and has failed where there is an ``error``."""


class NoSpan:
    """A `Span` of which nobody wants to know."""

    headers: Mapping[str, str] = {}

    def child(self, name: str) -> "Span":
        return self

    def end(self, error: BaseException | None = None) -> None:
        pass


NO_SPAN = NoSpan()

current: ContextVar[Span] = ContextVar("span", default=NO_SPAN)
"""What is being done. A coroutine keeps the one that it was begun in."""


def traced(name: str, call: "Callable[P, Deferred[T]]", *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
    """Make a call as a part of what is being done."""
    span = current.get().child(name)
    if span is NO_SPAN:
        return call(*args, **kwargs)
    outer = current.set(span)
    try:
        result = call(*args, **kwargs)
    except BaseException as error:
        span.end(error)
        raise
    finally:
        current.reset(outer)

    def ended(result: T | Failure) -> T | Failure:
        span.end(result.value if isinstance(result, Failure) else None)
        return result

    return result.addBoth(ended)
