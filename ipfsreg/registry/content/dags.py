"""The DAG of each content: its CID, and the hashes of its blocks.

Content of up to 1 MiB with a sha256 digest is one raw block, and its CID is the digest in another form. For any other
content the hashes of the leaves are kept in a small file beside it (docs/layout.md); the blocks are the content.
"""

from collections.abc import Callable
from contextlib import closing, suppress

from cachetools import LRUCache
from pydantic import BaseModel, ConfigDict
from twisted.logger import Logger

from ipfsreg.bucket.capabilities import TellsLeaves
from ipfsreg.bucket.errors import Corrupt, NotFound, TooLarge, Unavailable, Unchangeable
from ipfsreg.bucket.interface import IBucket, IReader
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.file_dag import PROFILE, FileDag
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, Hash, new_hash
from ipfsreg.registry.errors import Denied

from .block_cid import block_cid, block_cid_text, is_one_block
from .cid_index import CidIndex
from .content_hash import ContentHash
from .open_content import read_part

_FILE_MAX = 256 * 1024**2  # of a content of 8 TiB
_HEAD_MAX = 1024
_REMEMBERED = 100_000
_LOADED = 16


class _Head(BaseModel):
    """The first line of a DAG's file."""

    model_config = ConfigDict(frozen=True, strict=True)

    cid: str
    size: int
    chunk: int
    links: int


class Dags:
    """The DAGs of the contents of a bucket. Callers hold `content_key` in the guard.

    ``index`` is told of each. ``teller`` may know the leaves of what is stored.
    """

    wanted = True
    """Whether there are any."""

    late = False
    """Whether those of what is pushed are computed later."""

    _log = Logger()

    def __init__(self, bucket: IBucket, index: CidIndex, workers: Workers, teller: TellsLeaves | None = None) -> None:
        self._bucket = bucket
        self.index = index
        self._workers = workers
        self._teller = teller
        self._cids: LRUCache[Digest, str | None] = LRUCache(_REMEMBERED)
        self._loaded: LRUCache[Digest, FileDag] = LRUCache(_LOADED)

    async def cid_text(self, digest: Digest, size: int) -> str | None:
        """A content's CID, or None where that would have to be computed. Cheap: for each answer about the content."""
        if is_one_block(digest, size):
            return block_cid_text(digest)
        if digest not in self._cids:
            try:
                cid = await self.index.cid(digest)
            except Unavailable:
                return None
            self._cids[digest] = None if cid is None else str(cid)
        return self._cids[digest]

    async def add(self, digest: Digest, size: int, leaves: bytes | None) -> str | None:
        """Store the DAG of a content, durably, unless it is there; answers its CID, or None where nothing has one.

        ``leaves`` are None where the caller does not know them: then the storage does, or the content is read.

        :raises Corrupt: where the content that was read is not what its digest says.
        """
        if is_one_block(digest, size):
            return block_cid_text(digest)
        if leaves is None and self._teller is not None:
            leaves = await self._teller.leaves(layout.blob(digest), size)
        if leaves is None:
            return await self._add_by_reading(digest, size)
        dag = await self._workers.run(FileDag, leaves, size)
        try:
            await self._bucket.stat(layout.dag(digest))
        except (NotFound, Corrupt):
            await self._store(digest, dag)
        else:
            await self.note(digest, dag)
        return str(dag.cid)

    async def _add_by_reading(self, digest: Digest, size: int) -> str:
        with closing(await self._bucket.open(layout.blob(digest))) as reader:
            dag = await self.get(digest, size, reader)
        assert dag is not None
        await self.note(digest, dag)
        return str(dag.cid)

    async def get(self, digest: Digest, size: int, reader: IReader | None = None) -> FileDag | None:
        """The DAG of a content: from its file, or else by reading the content with ``reader``, and then stored.

        None where there is no file and no reader.

        :raises Corrupt: where the content that was read is not what its digest says.
        """
        if is_one_block(digest, size):
            return FileDag(block_cid(digest).hash, size)
        dag = self._loaded.get(digest) or await self.load(digest)
        if dag is None or dag.size != size:
            if reader is None:
                return None
            dag = await self._compute(digest, size, reader)
            await self._store(digest, dag)
        self._loaded[digest] = dag
        return dag

    async def complete(self, is_busy: Callable[[], bool]) -> None:
        """Compute what `add` left for later: nothing."""

    async def want_missing(self) -> None:
        """A pass has told the index of all that is there: what lacks its DAG is to get one, where they come late."""

    async def stop(self) -> None:
        """Compute nothing any more."""

    async def catch_up(self) -> bool:
        """Wait until all DAGs are there of what was pushed before; False where none was missing.

        :raises Unavailable: where that takes long.
        """
        return False

    async def load(self, digest: Digest) -> FileDag | None:
        """The DAG that is stored for a content, or None where there is none, or a damaged one."""
        try:
            content = await self._bucket.get(layout.dag(digest), _FILE_MAX)
            return await self._workers.run(decode_dag, content)
        except (NotFound, TooLarge, Corrupt):
            return None
        except ValueError as error:
            self._log.warn("{path} is no DAG: {error}. It is computed again.", path=layout.dag(digest), error=error)
            return None

    async def remove(self, digest: Digest) -> None:
        """Remove the DAG of a content, if it has one: the collector's side."""
        try:
            await self._bucket.remove(layout.dag(digest))
        except NotFound:
            return
        self._cids.pop(digest, None)
        self._loaded.pop(digest, None)
        await self.index.remove_dag(digest)

    async def _store(self, digest: Digest, dag: FileDag) -> None:
        await self.note(digest, dag)
        with suppress(Unchangeable):  # then only this daemon knows it
            await self._bucket.put(layout.dag(digest), encode_dag(dag))

    async def note(self, digest: Digest, dag: FileDag) -> None:
        """Remember the DAG of a content, which is stored or about to be."""
        await self.index.add_dag(digest, dag)
        self._cids[digest] = str(dag.cid)

    async def _moved(self, length: int) -> None:
        """So many bytes were read for a DAG. Nothing: somebody waits for it."""

    async def _compute(self, digest: Digest, size: int, reader: IReader) -> FileDag:
        hash_ = ContentHash()
        other = None if digest.algorithm == "sha256" else new_hash(digest.algorithm)
        for offset in range(0, size, PROFILE.chunk):
            part = await read_part(self._workers, reader, offset, min(PROFILE.chunk, size - offset))
            await self._workers.run(_update, part, hash_, other)
            await self._moved(len(part))
        if (other or hash_).hexdigest() != digest.hex:
            raise Corrupt(f"{layout.blob(digest)} is not what its name says; run `ipfsreg verify`")
        assert hash_.leaves is not None
        return await self._workers.run(FileDag, hash_.leaves, size)


class NoDags(Dags):
    """For an encrypted bucket: nobody is to learn the CID of what is in it, so none is computed."""

    wanted = False

    async def cid_text(self, digest: Digest, size: int) -> str | None:
        """See `Dags.cid_text`: None."""
        return None

    async def add(self, digest: Digest, size: int, leaves: bytes | None) -> str | None:
        """See `Dags.add`: None."""
        return None

    async def get(self, digest: Digest, size: int, reader: IReader | None = None) -> FileDag | None:
        """See `Dags.get`. :raises Denied: always."""
        raise no_cid()

    async def load(self, digest: Digest) -> FileDag | None:
        """See `Dags.load`: None."""
        return None

    async def remove(self, digest: Digest) -> None:
        """See `Dags.remove`: there is nothing to remove."""


def no_cid() -> Denied:
    """The refusal of whatever would tell a CID of an encrypted bucket."""
    return Denied("the bucket is encrypted ([encryption] enabled): nothing in it has a CID that others could use")


def encode_dag(dag: FileDag) -> bytes:
    """A DAG's file: a line of JSON, and the sha256 of each leaf."""
    head = _Head(cid=str(dag.cid), size=dag.size, chunk=dag.profile.chunk, links=dag.profile.links)
    return head.model_dump_json().encode() + b"\n" + dag.leaves


def decode_dag(content: bytes) -> FileDag:
    """Read a DAG's file. The CID in it is compared with what its leaves give.

    :raises ValueError: where it is damaged, or of another profile.
    """
    end = content.find(b"\n", 0, _HEAD_MAX)
    if end < 0:
        raise ValueError("it has no first line")
    head, leaves = _Head.model_validate_json(content[:end]), content[end + 1 :]
    if (head.chunk, head.links) != (PROFILE.chunk, PROFILE.links):
        raise ValueError("it has another form")
    dag = FileDag(leaves, head.size)
    if str(dag.cid) != head.cid:
        raise ValueError("its CID and its leaves do not go together")
    return dag


def _update(part: bytes, *hashes: Hash | None) -> None:
    for each in hashes:
        if each is not None:
            each.update(part)
