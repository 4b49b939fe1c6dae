"""A page of a long list. What is called here is for threads, since some lists have a hundred thousand names."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=str)


@dataclass(frozen=True, slots=True)
class Window(Generic[T]):
    """Some names of a list.

    ``after`` is what `window_of` takes for the next window, and ``before`` for the one before; None where there is
    none. "" is the beginning. ``total`` and ``first``, the number of the first name, are None where nobody counted.
    """

    names: Sequence[T]
    after: str | None
    before: str | None
    total: int | None = None
    first: int | None = None

    @property
    def last(self) -> int | None:
        """The number of the last name."""
        return None if self.first is None else self.first + len(self.names) - 1


def reversed_window_of(
    names: Sequence[T], query: str, after: str, size: int, key: Callable[[str], Any] = str
) -> Window[T]:
    """As `window_of`, but from the end of the list to its beginning."""
    matching = _matching(names, query)
    count = len(matching)
    end = bisect_left(matching, key(after), key=key) if after else count
    begin = max(0, end - size)
    found = list(matching[begin:end])[::-1]
    before: str | None = None
    if end < count:
        before = matching[end + size] if end + size < count else ""
    return Window(found, found[-1] if begin else None, before, count, count - end + 1)


def window_of(names: Sequence[T], query: str, after: str, size: int, key: Callable[[str], Any] = str) -> Window[T]:
    """The ``size`` names behind ``after`` in a sorted list, of those that have ``query`` in them."""
    matching = _matching(names, query)
    begin = bisect_right(matching, key(after), key=key) if after else 0
    found = matching[begin : begin + size]
    before: str | None = None
    if begin:
        before = matching[begin - size - 1] if begin > size else ""
    more = begin + len(found) < len(matching)
    return Window(found, found[-1] if more else None, before, len(matching), begin + 1)


def _matching(names: Sequence[T], query: str) -> Sequence[T]:
    wanted = query.lower()
    return [name for name in names if wanted in name.lower()] if wanted else names


def allowed_window_of(
    names: Sequence[T], query: str, after: str, size: int, allowed: Callable[[str], bool]
) -> Window[T]:
    """As `window_of`, of names that somebody may see: the others are not even counted."""
    wanted = query.lower()
    behind = names[bisect_left(names, after) :] if after else names
    matching = (name for name in behind if wanted in name and name != after and allowed(name))
    found = list(islice(matching, size + 1))
    more = len(found) > size
    return Window(found[:size], found[size - 1] if more else None, "" if after else None)
