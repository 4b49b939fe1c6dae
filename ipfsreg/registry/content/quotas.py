"""How much the repositories may have: each of them, and all together."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import QuotaExceeded
from ipfsreg.registry.names import Repository

from .cid_index import CidIndex


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """In bytes; None is unlimited. What two repositories have counts for each, and once for ``total``."""

    repository: int | None = None
    total: int | None = None


class Quotas:
    """Says whether there is room for more, by what the index of CIDs counts.

    Where the index cannot be read, everything goes: a count that can be made again is no reason to refuse a push.
    """

    def __init__(self, limits: QuotaLimits, index: CidIndex) -> None:
        self._limits = limits
        self._index = index
        self._coming: Counter[Repository] = Counter()
        self.are_set = limits != QuotaLimits()
        """Whether anything is limited, so that sizes have to be known."""

    @asynccontextmanager
    async def room(self, repository: Repository, digest: Digest, size: int) -> AsyncIterator[None]:
        """Keep room for a content of ``size`` bytes while the block gives it to a repository.

        :raises QuotaExceeded: where there is none. What the repository has already needs none.
        """
        if not self.are_set:
            yield
            return
        await self._check(repository, digest, size)
        self._coming[repository] += size
        try:
            yield
        finally:
            self._coming[repository] -= size
            if not self._coming[repository]:
                del self._coming[repository]

    async def check(self, repository: Repository, digest: Digest | None, size: int) -> None:
        """See that there is room for ``size`` bytes, at least for one, before they come.

        Where it is not known yet what they are, another repository may have them, so that they need no room in all.

        :raises QuotaExceeded: where there is none.
        """
        if self.are_set:
            await self._check(repository, digest, max(size, 1))

    async def _check(self, repository: Repository, digest: Digest | None, size: int) -> None:
        with suppress(Unavailable):  # that was logged
            usage = await self._index.usage(repository, digest)
            # Nothing is awaited from here until the caller has counted what comes.
            if not usage.repository_has:
                used = usage.of_repository + self._coming[repository]
                _compare(f"the repository {repository}", "repository_size", used, size, self._limits.repository)
            if digest is not None and not usage.anybody_has:
                used = usage.of_all + self._coming.total()
                _compare("this registry", "total_size", used, size, self._limits.total)


def _compare(what: str, option: str, used: int, size: int, allowed: int | None) -> None:
    if allowed is not None and used + size > allowed:
        raise QuotaExceeded(
            f"over quota: {what} uses {used} of {allowed} bytes ([limits] {option}), and {size} more do not fit; "
            "delete what is not needed, which counts as soon as garbage has been collected",
            {"used": used, "allowed": allowed, "needed": size},
        )
