"""The names of the repositories in the file of the index of CIDs: neither listed after each start, nor kept in memory.

It is told of every change after that was made, and holds what a `Catalog` would. Like `TagIndex` it is for a bucket
that nobody else writes to, and it is not believed after a kill or a loss, until all names are listed again.
"""

import json
from collections.abc import Sequence
from typing import Any

from ipfsreg.registry.content.cid_index import CidIndex
from ipfsreg.registry.names import Repository


class CatalogIndex:
    """The table of repositories in a `CidIndex`. Where that cannot be used, nothing is known."""

    def __init__(self, index: CidIndex) -> None:
        self._index = index

    def changed(self, repository: Repository, *, present: bool) -> None:
        """A repository has a manifest now, or none any more."""
        change = "INSERT INTO catalog VALUES (?) ON CONFLICT DO NOTHING"
        self._index.tell(change if present else "DELETE FROM catalog WHERE repository = ?", repository)

    def doubt(self) -> None:
        """What it has may be wrong."""
        self._index.tell("DELETE FROM cataloged")

    async def knows(self) -> bool:
        """Whether it has all names."""
        return await self._rows("SELECT 1") is not None

    async def some(
        self, after: str, most: int | None, part: str = "", *, backwards: bool = False
    ) -> list[Repository] | None:
        """As `Catalog.after`; None where the names are not known."""
        those = f"repository {'<' if backwards and after else '>'} ? AND instr(repository, ?)"
        order = "repository DESC" if backwards else "repository"
        query = f"SELECT repository FROM catalog WHERE {those} ORDER BY {order} LIMIT ?"
        return await self._rows(query, after, part, -1 if most is None else most)

    async def count(self, part: str, until: str | None) -> int | None:
        """As `Catalog.count`; None where the names are not known."""
        those, values = ("instr(repository, ?)", [part]) if part else ("1", [])
        if until is not None:
            those, values = f"repository <= ? AND {those}", [until, *values]
        rows = await self._rows(f"SELECT count(*) FROM catalog WHERE {those}", *values)
        return None if rows is None else rows[0]

    async def _rows(self, query: str, *values: object) -> list[Any] | None:
        """The first column of a query."""
        all_there = "SELECT 1 FROM cataloged", ()
        return await self._index.known(all_there, lambda of: [each for (each,) in of.execute(query, values)])

    def begin(self) -> None:
        """The names are going to be listed: `add` tells of them, and `end` ends it."""
        self._index.tell("DELETE FROM cataloged")
        self._index.tell("DELETE FROM catalog")

    async def add(self, names: Sequence[Repository]) -> bool:
        """Some names. Answers whether they are kept."""
        self._index.tell("INSERT OR IGNORE INTO catalog SELECT value FROM json_each(?)", json.dumps(names))
        return await self._index.settles()

    def end(self) -> None:
        """From now on it has all names."""
        self._index.tell("INSERT OR IGNORE INTO cataloged VALUES (1)")
