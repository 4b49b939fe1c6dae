"""Which manifests refer to a subject, in the order of their digests, known without listing a directory.

A table in the file of the index of CIDs, for a bucket that nobody else writes to. It is told of an entry before that is
written, and after it was removed. So where it says that it has all entries of a repository, no other manifest of that
refers to a subject; what it names may not be there, and a caller has to make sure of it. Of what type an artifact is
never changes, since its digest says what is in it.

It has all of them once each was read. That ends with a kill, with a loss of power, and when anything it was told is
lost, until the next pass.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from sqlite3 import Connection

from ipfsreg.registry.content.cid_index import CidIndex, content_of, index_key
from ipfsreg.registry.content.cid_table import Statement
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.names import Repository

_UNKNOWN = b""  # the type of an entry that could not be read


class ReferrerIndex:
    """The table of referrers in a `CidIndex`. Where that cannot be used, nothing is known."""

    def __init__(self, index: CidIndex) -> None:
        self._index = index

    def refers(self, repository: Repository, subject: Digest, digest: Digest, artifact_type: str | None) -> None:
        """An entry is about to be written."""
        self._add(repository, subject, digest, _key_of(artifact_type))

    def found(self, repository: Repository, subject: Digest, digest: Digest) -> None:
        """An entry is there that cannot be read."""
        self._add(repository, subject, digest, _UNKNOWN)

    def removed(self, repository: Repository, subject: Digest, digest: Digest) -> None:
        """An entry was removed. The caller keeps others from writing it meanwhile."""
        statement = "DELETE FROM referrers WHERE repository = ? AND subject = ? AND content = ?"
        self._index.tell(statement, repository, index_key(subject), index_key(digest))

    async def settled(self) -> bool:
        """Wait until what it was told is written; False where the index cannot be used."""
        return await self._index.settles()

    def has_all(self, repository: Repository) -> None:
        """It was told of every entry of a repository."""
        self._index.tell("INSERT OR IGNORE INTO referred VALUES (?)", repository)

    async def knows(self, repository: Repository) -> bool:
        """Whether it has all entries of a repository."""
        return await self._index.known(_all_of(repository), lambda _: True) is not None

    async def some(
        self, repository: Repository, subject: Digest, artifact_type: str | None, after: Digest | None, most: int
    ) -> Sequence[Digest] | None:
        """The next manifests behind ``after`` that may refer to a subject and be of a type; None where unknown."""
        query = "SELECT content FROM referrers WHERE repository = ? AND subject = ? AND content > ?"
        those = (repository, index_key(subject), b"" if after is None else index_key(after))
        types: Iterable[tuple[object, ...]] = [()]
        if artifact_type is not None:
            query, types = f"{query} AND type = ?", [(_key_of(artifact_type),), (_UNKNOWN,)]

        def look(of: Connection) -> Sequence[Digest]:
            found = (of.execute(f"{query} ORDER BY content LIMIT ?", (*those, *each, most)) for each in types)
            return [content_of(content) for content in sorted(content for rows in found for (content,) in rows)[:most]]

        return await self._index.known(_all_of(repository), look)

    def _add(self, repository: Repository, subject: Digest, digest: Digest, kind: bytes) -> None:
        row = repository, index_key(subject), index_key(digest), kind
        self._index.tell(
            "INSERT INTO referrers VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET type = excluded.type", *row
        )


def _all_of(repository: Repository) -> Statement:
    return "SELECT 1 FROM referred WHERE repository = ?", (repository,)


def _key_of(artifact_type: str | None) -> bytes:
    # A client's string may be of any length. Two with one key are told apart by whoever reads the entries.
    return sha256((artifact_type or "").encode()).digest()[:8]
