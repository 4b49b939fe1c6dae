"""The names of the repositories in the file of the index of CIDs, so that they are not listed after each start.

It is told of every change after that was made, and holds what a `Catalog` would. Like `TagIndex` it is for a bucket
that nobody else writes to, and it is not believed after a kill or a loss, until all names are listed again.
"""

import json
from collections.abc import Sequence
from sqlite3 import Connection

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.cid_index import CidIndex
from ipfsreg.registry.names import Repository

_AT_ONCE = 10_000


class CatalogIndex:
    """The table of repositories in a `CidIndex`. Where that cannot be used, nothing is known."""

    def __init__(self, index: CidIndex, workers: Workers) -> None:
        self._index = index
        self._workers = workers

    def changed(self, repository: Repository, *, present: bool) -> None:
        """A repository has a manifest now, or none any more."""
        change = "INSERT INTO catalog VALUES (?) ON CONFLICT DO NOTHING"
        self._index.tell(change if present else "DELETE FROM catalog WHERE repository = ?", repository)

    def doubt(self) -> None:
        """What it has may be wrong."""
        self._index.tell("DELETE FROM cataloged")

    async def names(self) -> list[Repository] | None:
        """The names in lexical order; None where they are not known."""

        def look(of: Connection) -> list[Repository] | None:
            if not self._index.knows_tagged or of.execute("SELECT 1 FROM cataloged").fetchone() is None:
                return None
            return [Repository(name) for (name,) in of.execute("SELECT repository FROM catalog ORDER BY repository")]

        try:
            return await self._index.do(look)
        except Unavailable:
            return None

    async def prepared(self, names: Sequence[Repository]) -> Sequence[str]:
        """Names that were listed, for `keep`."""
        return await self._workers.run(_in_pieces, names)

    def keep(self, prepared: Sequence[str]) -> None:
        """From now on it has these names, and each change that it is told of from now on."""
        self._index.tell("DELETE FROM catalog")
        for piece in prepared:
            self._index.tell("INSERT OR IGNORE INTO catalog SELECT value FROM json_each(?)", piece)
        self._index.tell("INSERT OR IGNORE INTO cataloged VALUES (1)")


def _in_pieces(names: Sequence[Repository]) -> list[str]:
    return [json.dumps(names[begin : begin + _AT_ONCE]) for begin in range(0, len(names), _AT_ONCE)]
