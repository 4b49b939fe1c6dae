"""Blocks by CID, out of the blobs and manifests of repositories.

A block is always read through a repository that has it, with the checks and the guard of an ordinary pull. The index
only says where to look.
"""

from contextlib import closing, suppress
from dataclasses import dataclass

from ipfsreg.bucket.errors import Corrupt, NotFound, Unavailable
from ipfsreg.bucket.interface import IBucket, IReader
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.car import BLOCK_MAX
from ipfsreg.ipfs.cid import CID, SHA2_256
from ipfsreg.ipfs.file_dag import HASH, PROFILE, BlockPlace, FileDag, Profile, range_of
from ipfsreg.registry import layout
from ipfsreg.registry.content.cid_index import Allowed, Holder
from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.digest import Digest

from .held_content import HeldContent, read_leaf

_WHOLE = Profile(chunk=BLOCK_MAX)
_RETRY = 30


@dataclass(frozen=True, slots=True)
class Located:
    """Where a block is: a repository's content of ``size`` bytes, and the place in its DAG.

    ``whole``: the block is the content, though its DAG may be another.
    """

    cid: CID
    holder: Holder
    size: int
    place: BlockPlace
    whole: bool

    @property
    def range(self) -> tuple[int, int]:
        """Which bytes of the content are in the block or below it: the first, and the one past the last."""
        return range_of(self.place, self.size, _WHOLE if self.whole else PROFILE)


class OpenBlock:
    """A block's content, opened: close it when done. All that is read from it was compared with its hash."""

    def __init__(self, located: Located, dags: Dags, workers: Workers, source: "IReader | bytes") -> None:
        self.located = located
        self._dags = dags
        self._workers = workers
        self._source = source

    async def dag(self) -> FileDag:
        """The DAG that the block is a part of."""
        located = self.located
        if located.whole:
            return FileDag(located.cid.hash, located.size, _WHOLE)
        reader = None if isinstance(self._source, bytes) else self._source
        dag = await self._dags.get(located.holder.digest, located.size, reader)
        if dag is None or dag.hash_at(located.place) != located.cid.hash:
            raise Corrupt(f"the DAG of {located.holder.digest} is not what the index of CIDs has")
        return dag

    async def read(self) -> bytes:
        """The block."""
        if self.located.place.level:
            return await self.read_at(await self.dag(), self.located.place)
        return await self._leaf(self.located.range, self.located.cid.hash)

    async def read_at(self, dag: FileDag, place: BlockPlace) -> bytes:
        """Another block of its DAG."""
        if place.level:
            return await self._workers.run(dag.block, place)
        return await self._leaf(dag.range_at(place), dag.hash_at(place))

    def close(self) -> None:
        """Let go of what was opened."""
        if not isinstance(self._source, bytes):
            self._source.close()

    async def _leaf(self, part: tuple[int, int], sha256: bytes) -> bytes:
        return await read_leaf(self._workers, self._source, self.located.holder.digest, part, sha256)


class Blocks:
    """Finds and opens blocks."""

    def __init__(self, bucket: IBucket, held: HeldContent, storage: Storage) -> None:
        self._bucket = bucket
        self._held = held
        self._dags = storage.dags
        self._index = storage.index
        self._workers = storage.workers

    async def find(self, cid: CID, allowed: Allowed) -> Located | None:
        """Where the block of a CID is, in a repository for which ``allowed`` says yes; None where it is nowhere.

        :raises Unavailable: where it may be somewhere that the index does not know yet, and the bucket is away.
        """
        if cid.hash_code != SHA2_256 or len(cid.hash) != HASH:
            return None
        located = await self._find_known(cid, allowed)
        if located is None and await self._dags.catch_up():
            located = await self._find_known(cid, allowed)
        if located is not None:
            return located
        if not self._index.complete:
            raise Unavailable("the index of CIDs is being made", _RETRY)
        if self._bucket.shared:  # the index may be behind: while the bucket is away, nobody knows
            with suppress(NotFound):
                await self._bucket.stat(layout.blob(Digest("sha256", cid.hash.hex())))
        return None

    async def _find_known(self, cid: CID, allowed: Allowed) -> Located | None:
        async for holder in self._index.holders(Digest("sha256", cid.hash.hex()), allowed):
            size = await self._held.size(holder)
            if size is not None and size <= BLOCK_MAX:
                return Located(cid, holder, size, BlockPlace(0, 0), True)
        async for block in self._index.blocks(cid.hash, allowed):
            if await self._held.size(block.holder) == block.size:
                return Located(cid, block.holder, block.size, block.place, False)
        return None

    async def open(self, located: Located) -> OpenBlock | None:
        """Open a block; None where it is there no more."""
        source = await self._held.open(located.holder)
        return None if source is None else OpenBlock(located, self._dags, self._workers, source)

    async def block_size(self, located: Located) -> int:
        """The length of a block in bytes, without reading any of it."""
        first, end = located.range
        if not located.place.level:
            return end - first
        opened = await self.open(located)
        if opened is None:
            return 0
        with closing(opened):
            dag = await opened.dag()
            return await self._workers.run(dag.block_size, located.place)
