"""A page of a long list. The lists of names are looked through in threads, for they may have a hundred thousand."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.tags import Tags

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


def window_of(names: Sequence[T], query: str, after: str, size: int) -> Window[T]:
    """The ``size`` names behind ``after`` in a sorted list, of those that have ``query`` in them."""
    wanted = query.lower()
    matching = [name for name in names if wanted in name] if wanted else names
    begin = bisect_right(matching, after) if after else 0
    found = matching[begin : begin + size]
    before: str | None = None
    if begin:
        before = matching[begin - size - 1] if begin > size else ""
    more = begin + len(found) < len(matching)
    return Window(found, found[-1] if more else None, before, len(matching), begin + 1)


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


async def tags_window(
    tags: Tags, repository: Repository, query: str, after: str, size: int, *, backwards: bool
) -> Window[Tag]:
    """The ``size`` tags behind ``after`` that have ``query`` in them; ``backwards``, those before it from there on.

    No more tags are read than are shown, and those on the page before.

    :raises NameUnknown: where there is no such repository.
    """
    found = await tags.in_order(repository, after or None, size + 1, query, backwards=backwards)
    before: str | None = None
    if after:
        edge = found[0] if found else after
        former = await tags.in_order(repository, edge, size + 1, query, backwards=not backwards)
        before = former[size] if len(former) > size else "" if former else None
    more = len(found) > size
    total = None if query else await tags.count(repository)
    return Window(found[:size], found[size - 1] if more else None, before, total)
