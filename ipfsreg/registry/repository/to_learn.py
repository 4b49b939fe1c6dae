"""Which repositories the index is to learn soon."""

from collections.abc import Awaitable, Callable

from cachetools import LRUCache

from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry.names import Repository

EVERY = 100
"""After so many additions a repository is looked at. A shorter list is quickly read."""

_MOST = 1000
_COUNTED = 10_000


class ToLearn:
    """Repositories whose lists are long, and may not be known.

    One that grows is known before somebody lists it: it is learned while it is still short, and from then on the index
    is told of each addition. A repository that has few is not worth the work, though there be a million of them.
    """

    def __init__(self) -> None:
        self._names: dict[Repository, None] = {}
        self._added: LRUCache[Repository, int] = LRUCache(_COUNTED)

    def added(self, repository: Repository) -> None:
        """Something was added to a repository."""
        number = self._added[repository] = self._added.get(repository, 0) + 1
        if number % EVERY == 0:
            self._add(repository)

    def listed(self, repository: Repository, length: int) -> None:
        """A list of that length had to be read for somebody."""
        if length >= EVERY:
            self._add(repository)

    async def learn(self, learn: Callable[[Repository, Throttle], Awaitable[None]], throttle: Throttle) -> None:
        """Have each of them learned, the first that came first."""
        while self._names:
            repository = next(iter(self._names))
            try:
                await learn(repository, throttle)
            finally:
                self._names.pop(repository, None)  # one that is damaged does not keep the others waiting

    def _add(self, repository: Repository) -> None:
        if len(self._names) < _MOST:
            self._names[repository] = None
