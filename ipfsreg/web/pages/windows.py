"""A page of a long list, of which no more is read than is shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ipfsreg.flow.workers import Workers
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.catalog import Catalog
from ipfsreg.registry.repository.tags import Tags

T = TypeVar("T", bound=str)

_AT_ONCE = 1000  # names about which the rules are asked in one call of a thread


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


async def window_of(catalog: Catalog, query: str, after: str, size: int) -> Window[Repository]:
    """The ``size`` repositories behind ``after``, of those that have ``query`` in their names."""
    wanted = query.lower()
    found = await catalog.after(after, size + 1, wanted)
    before: str | None = None
    if after:
        former = await catalog.after(found[0] if found else after, size + 1, wanted, backwards=True)
        before = former[size] if len(former) > size else "" if former else None
    more = len(found) > size
    total = await catalog.count(wanted)
    first = 1 + (await catalog.count(wanted, until=after) if after else 0)
    return Window(found[:size], found[size - 1] if more else None, before, total, first)


async def allowed_window_of(
    catalog: Catalog, query: str, after: str, size: int, allowed: Callable[[str], bool], workers: Workers
) -> Window[Repository]:
    """As `window_of`, of names that somebody may see: the others are not even counted. ``allowed`` is for threads."""
    found: list[Repository] = []
    last = after
    while len(found) <= size and (some := await catalog.after(last, _AT_ONCE, query.lower())):
        found += await workers.run(lambda names: list(filter(allowed, names)), some)
        last = some[-1]
    more = len(found) > size
    return Window(found[:size], found[size - 1] if more else None, "" if after else None)


async def tags_window(
    tags: Tags, repository: Repository, query: str, after: str, size: int, *, backwards: bool
) -> Window[Tag]:
    """The ``size`` tags behind ``after`` that have ``query`` in them; ``backwards``, those before it from there on.

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
