"""Which tags point to a manifest, and which there are in order, known without reading the tags of a repository.

Tables in the file of the index of CIDs, for a bucket that nobody else writes to. It is told of a tag before that is
written, and after it was moved or removed. So where it says that it has all tags of a repository, no tag points to a
manifest that it does not name; what it names may point elsewhere, and a caller has to make sure of it.

It has all of them once each was read. That ends with a kill, with a loss of power, and when anything it was told is
lost: then the tags of a repository are read again before one of its manifests is deleted, or earlier, in a pass.
"""

from collections.abc import Sequence
from typing import Any

from ipfsreg.registry.content.cid_index import CidIndex, index_key
from ipfsreg.registry.content.cid_table import Statement
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.names import Repository, Tag

_ADD = "INSERT INTO tags VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_MANY = 32  # so many are written before more are read
_NOWHERE = b""  # where a damaged tag points to


class _Reading:
    """A repository whose tags are being read: those that were removed meanwhile, and whether a change failed."""

    def __init__(self) -> None:
        self.removed: set[Tag] = set()
        self.doubted = False


class TagIndex:
    """The tables about tags in a `CidIndex`. Where that cannot be used, nothing is known."""

    def __init__(self, index: CidIndex) -> None:
        self._index = index
        self._changing: dict[tuple[Repository, Tag, bytes], int] = {}
        self._reading: dict[Repository, _Reading] = {}

    def pointing(self, repository: Repository, tag: Tag, digest: Digest) -> None:
        """A tag is about to point to a manifest; one of the next three methods follows."""
        row = repository, tag, index_key(digest)
        self._changing[row] = self._changing.get(row, 0) + 1
        self._index.tell(_ADD, *_row(*row))

    def pointed(self, repository: Repository, tag: Tag, digest: Digest) -> None:
        """Now it does, and to nothing else."""
        self._changed(repository, tag, digest)
        self._index.tell(
            "DELETE FROM tags WHERE repository = ? AND folded = ? AND tag = ? AND content != ?",
            *_row(repository, tag, index_key(digest)),
        )

    def may_point(self, repository: Repository, tag: Tag, digest: Digest) -> None:
        """That failed, and may have had an effect."""
        self._changed(repository, tag, digest)
        self.doubt(repository)

    def removed(self, repository: Repository, tag: Tag) -> None:
        """There is no such tag any more. The caller keeps others from making it meanwhile."""
        if repository in self._reading:
            self._reading[repository].removed.add(tag)
        statement = "DELETE FROM tags WHERE repository = ? AND folded = ? AND tag = ?"
        self._index.tell(statement, repository, tag.lower(), tag)

    def doubt(self, repository: Repository) -> None:
        """Something of that repository is not known any more."""
        if repository in self._reading:
            self._reading[repository].doubted = True
        self._index.tell("DELETE FROM tagged WHERE repository = ?", repository)

    async def knows(self, repository: Repository) -> bool:
        """Whether it has all tags of a repository."""
        return await self._index.known(_all_of(repository), lambda _: True) is not None

    async def pointing_to(self, repository: Repository, digest: Digest) -> Sequence[Tag] | None:
        """The tags that may point to a manifest, and no other does; None where that is not known."""
        query = "SELECT tag FROM tags WHERE repository = ? AND content = ?"
        return await self._rows(repository, query, index_key(digest))

    async def count(self, repository: Repository) -> int | None:
        """How many tags a repository has; None where that is not known."""
        query = "SELECT count(*) FROM (SELECT DISTINCT folded, tag FROM tags WHERE repository = ?)"
        rows = await self._rows(repository, query)
        return None if rows is None else rows[0]

    async def in_order(
        self, repository: Repository, after: str | None, most: int | None, part: str = "", *, backwards: bool = False
    ) -> list[Tag] | None:
        """The next tags behind ``after`` in lexical order, so many at the most; None where they are not known.

        Only those with ``part`` in them, whatever its case.
        """
        those, values = "WHERE repository = ?", []
        if after is not None:
            those += f" AND (folded, tag) {'<' if backwards else '>'} (?, ?)"
            values += [after.lower(), after]
        if part:
            those += " AND instr(folded, ?)"
            values.append(part.lower())
        order = "folded DESC, tag DESC" if backwards else "folded, tag"
        query = f"SELECT DISTINCT folded, tag FROM tags {those} ORDER BY {order} LIMIT ?"
        return await self._rows(repository, query, *values, -1 if most is None else most)

    async def _rows(self, repository: Repository, query: str, *values: object) -> list[Any] | None:
        """The last column of a query."""
        parameters = repository, *values
        return await self._index.known(
            _all_of(repository), lambda of: [row[-1] for row in of.execute(query, parameters)]
        )

    def begin(self, repository: Repository) -> None:
        """Every tag of that repository is going to be read, once at a time: `add` tells of them, and `end` ends it."""
        self._reading[repository] = _Reading()
        self._index.tell("DELETE FROM tagged WHERE repository = ?", repository)
        self._index.tell("DELETE FROM tags WHERE repository = ?", repository)
        for row in self._changing:  # what is being written may come to a place that was read already
            if row[0] == repository:
                self._index.tell(_ADD, *_row(*row))

    async def add(self, repository: Repository, tags: Sequence[tuple[Tag, Digest | None]]) -> None:
        """Some tags, with where they were found to point to; None for damaged ones."""
        reading = self._reading[repository]
        for tag, digest in tags:
            if tag not in reading.removed:
                content = _NOWHERE if digest is None else index_key(digest)
                self._index.tell(_ADD, *_row(repository, tag, content))
        if len(tags) >= _MANY and not await self._index.settles():
            reading.doubted = True

    def end(self, repository: Repository, *, read_all: bool) -> None:
        """The end of what `begin` began: whether every tag was read."""
        reading = self._reading.pop(repository)
        if read_all and not reading.doubted:
            self._index.tell("INSERT INTO tagged VALUES (?) ON CONFLICT DO NOTHING", repository)

    def _changed(self, repository: Repository, tag: Tag, digest: Digest) -> None:
        row = repository, tag, index_key(digest)
        self._changing[row] -= 1
        if not self._changing[row]:
            del self._changing[row]


def _all_of(repository: Repository) -> Statement:
    return "SELECT 1 FROM tagged WHERE repository = ?", (repository,)


def _row(repository: Repository, tag: Tag, content: bytes) -> tuple[str, str, str, bytes]:
    return repository, tag.lower(), tag, content
