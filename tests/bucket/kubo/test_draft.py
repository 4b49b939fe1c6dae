"""A draft of a state against a dict of paths: whatever is changed, its blocks are exactly the tree that is expected."""

import random
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import Refused
from ipfsreg.bucket.kubo.errors import Exists, Missing
from ipfsreg.bucket.kubo.node.directories import Directories
from ipfsreg.bucket.kubo.node.node import Target
from ipfsreg.bucket.kubo.state.draft import StateDraft
from ipfsreg.ipfs import hamt
from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, cid_of, inline_cid
from ipfsreg.ipfs.dag_pb import PBLink, PBNode, decode_node, encode_node
from ipfsreg.ipfs.unixfs import DIRECTORY, FILE, HAMT_SHARD, UnixFS, decode_unixfs, encode_directory, encode_unixfs
from tests.full import examples

from .simulated_node import NoThreads

T = TypeVar("T")

MARK = "mark"
"""A file that each state has, as those of a bucket do: so a state is never empty."""

MARKED = Target(inline_cid(b"mark"), 4)

EMPTY = encode_directory([])


def now(work: Awaitable[T]) -> T:
    """The result of what waits for nothing."""
    results: list[Any] = []
    ensureDeferred(work).addBoth(results.append)  # type: ignore[arg-type]
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return cast(T, result)


class Bucket:
    """States made one after the other; ``files`` is what the last one has to be, and ``blocks`` all that was stored."""

    def __init__(self, *, fresh: bool = False) -> None:
        self.blocks: dict[CID, bytes] = {cid_of(DAG_PB, EMPTY): EMPTY}
        self.root = cid_of(DAG_PB, EMPTY)
        self.files: dict[str, Target] = {}
        self.before: dict[str, Target] = {}
        """The files of the last state, when the draft began."""
        self._fresh = fresh
        self._directories = self._anew()

    def _anew(self) -> Directories:
        workers: Any = NoThreads()
        return Directories(self._get, workers)

    async def _get(self, cid: CID) -> bytes:
        if cid not in self.blocks:
            raise Missing(f"{cid} is missing")
        return self.blocks[cid]

    def draft(self) -> StateDraft:
        """A draft upon the last state; with ``fresh`` by a daemon that knows nothing of it."""
        return StateDraft(self._anew() if self._fresh else self._directories, self.root)

    def commit(self, draft: StateDraft) -> None:
        """Let a draft be the last state, and look at it."""
        now(draft.link(MARK, MARKED))
        before = set(self.blocks)
        self.root, made = now(draft.blocks())
        for cid, block in made:
            assert cid == cid_of(cid.codec, block)
            for link in links(cid, block):
                assert link.cid in self.blocks or link.cid.hash_code == 0 or link.cid in FILES, "it comes too late"
            self.blocks[cid] = block
        self.before = dict(self.files)
        assert self.tree() == {MARK: MARKED.cid, **{path: to.cid for path, to in self.files.items()}}
        needed = self.needed()
        assert {cid for cid, _ in made} - before <= needed, "a block of no use was stored"

    def tree(self) -> dict[str, CID]:
        """All files of the last state, by its blocks alone."""
        found: dict[str, CID] = {}
        left = [("", self.root)]
        while left:
            above, directory = left.pop()
            entries = dict(self._entries(directory))
            assert entries, "a directory is empty"
            assert list(entries) == sorted(entries, key=str.encode) or self._is_sharded(directory)
            for name, cid in entries.items():
                if self._kind(cid) in {DIRECTORY, HAMT_SHARD}:
                    left.append((f"{above}{name}/", cid))
                else:
                    assert f"{above}{name}" not in found
                    found[f"{above}{name}"] = cid
        return found

    def needed(self) -> set[CID]:
        """All blocks of the last state."""
        seen: set[CID] = set()
        left = [self.root]
        while left:
            cid = left.pop()
            if cid in seen or cid not in self.blocks:
                continue
            seen.add(cid)
            left += [link.cid for link in links(cid, self.blocks[cid])]
        return seen

    def sizes_are_right(self) -> bool:
        """Whether each link of a directory says how long all blocks below it are."""
        return all(
            link.size == self._size(link.cid)
            for cid in self.needed()
            if self._kind(cid) in {DIRECTORY, HAMT_SHARD}
            for link in links(cid, self.blocks[cid])
        )

    def _size(self, cid: CID) -> int:
        if cid == MARKED.cid:
            return MARKED.size
        if cid in FILES:
            return FILES[cid].size
        block = self.blocks[cid]
        return len(block) + sum(link.size for link in links(cid, block))

    def _kind(self, cid: CID) -> int:
        if cid.codec == RAW:
            return FILE
        return FILE if cid in FILES else decode_unixfs(decode_node(self.blocks[cid]).data).kind

    def _is_sharded(self, cid: CID) -> bool:
        return self._kind(cid) == HAMT_SHARD

    def _entries(self, cid: CID) -> Iterator[tuple[str, CID]]:
        for link in links(cid, self.blocks[cid]):
            if not self._is_sharded(cid):
                yield link.name, link.cid
            elif len(link.name) > 2:
                yield link.name[2:], link.cid
            else:
                yield from self._entries(link.cid)


def links(cid: CID, block: bytes) -> Sequence[PBLink]:
    return decode_node(block).links if cid.codec == DAG_PB else ()


def made_file(number: int) -> tuple[Target, bytes]:
    """A file of several blocks, as it was added: the draft is only told of it."""
    data = encode_unixfs(UnixFS(FILE, size=number, block_sizes=[number]))
    block = encode_node(PBNode([PBLink(cid_of(RAW, b"%d" % number), "", number)], data))
    return Target(cid_of(DAG_PB, block), len(block) + number), block


ADDED = [made_file(number) for number in range(1, 5)]
FILES: Mapping[CID, Target] = {target.cid: target for target, _ in ADDED}

NAMES = ["a", "b", "ä", "a.b", "a-"]  # some sort around the separator of a path
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)

CHANGES = st.one_of(
    st.tuples(st.just("store"), PATHS, st.binary(max_size=3)),
    st.tuples(st.just("link"), PATHS, st.sampled_from([target for target, _ in ADDED])),
    st.tuples(st.just("unlink"), PATHS, st.none()),
    st.tuples(st.just("unlink all below"), PATHS, st.none()),
    st.tuples(st.just("find"), PATHS, st.none()),
    st.tuples(st.just("take back"), PATHS, st.none()),
    st.tuples(st.just("commit"), PATHS, st.none()),
)


def change(bucket: Bucket, draft: StateDraft, what: str, path: str, value: Any) -> None:
    """One change of a draft, and of what is expected."""
    files = bucket.files
    if what in {"store", "link"}:
        is_directory = any(other.startswith(f"{path}/") for other in [*files, *bucket.before])
        is_below_a_file = any(path.startswith(f"{other}/") for other in files)
        target = value if what == "link" else Target(cid_of(RAW, value), len(value))
        made = draft.link(path, value) if what == "link" else draft.store(path, value)
        if is_directory:
            with pytest.raises(Exists):
                now(made)
        elif is_below_a_file:
            with pytest.raises(Refused):
                now(made)
        else:
            now(made)
            files[path] = target
    elif what == "unlink" and path in files:
        draft.unlink(path)
        del files[path]
    elif what == "unlink all below":
        for below in [other for other in files if other.startswith(f"{path}/")]:
            draft.unlink(below)
            del files[below]
    else:
        assert now(draft.find(path)) == files.get(path)


@settings(max_examples=examples(30, 200), derandomize=True)
@given(st.lists(CHANGES, max_size=30), st.booleans())
def test_a_draft_is_what_was_changed(changes: Sequence[tuple[str, str, Any]], fresh: bool) -> None:
    bucket = Bucket(fresh=fresh)
    for target, block in ADDED:
        bucket.blocks[target.cid] = block
    draft = bucket.draft()
    for what, path, value in changes:
        if what == "commit":
            bucket.commit(draft)
            draft = bucket.draft()
        elif what == "take back":
            files, take_back = dict(bucket.files), draft.checkpoint()
            change(bucket, draft, "store", path, b"not for long")
            take_back()
            bucket.files = files
        else:
            change(bucket, draft, what, path, value)
    bucket.commit(draft)
    assert bucket.sizes_are_right()


def test_a_directory_that_is_a_file_now() -> None:
    bucket = Bucket()
    draft = bucket.draft()
    change(bucket, draft, "store", "a/b", b"1")
    change(bucket, draft, "unlink", "a/b", None)
    change(bucket, draft, "store", "a", b"2")
    bucket.commit(draft)
    assert set(bucket.tree()) == {"a", MARK}


@contextmanager
def small_shards() -> Iterator[None]:
    """Directories that are sharded from some entries on, and not from some thousands."""
    with mock.patch.object(hamt, "THRESHOLD", 400):
        yield


@settings(max_examples=examples(12, 30), derandomize=True)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 40), max_size=12))
def test_sharded_directories_come_and_go(seed: int, counts: Sequence[int]) -> None:
    """A directory grows and shrinks to so many entries, one draft after the other."""
    numbers, bucket = random.Random(seed), Bucket()
    with small_shards():
        for count in counts:
            draft, wanted = bucket.draft(), {f"d/{number:03}" for number in numbers.sample(range(60), count)}
            for path in set(bucket.files) - wanted:
                change(bucket, draft, "unlink", path, None)
            for path in sorted(wanted):
                change(bucket, draft, "store", path, path.encode())
            bucket.commit(draft)
            assert bucket.sizes_are_right()
            if wanted:
                directory = now(bucket._directories.find(bucket.root, ["d"]))
                assert directory is not None
                large = hamt.estimated_size([PBLink(to.cid, path[2:], to.size) for path, to in bucket.files.items()])
                assert bucket._is_sharded(directory.cid) is (large > hamt.THRESHOLD)


@settings(max_examples=examples(20, 60), derandomize=True)
@given(st.dictionaries(PATHS, st.binary(max_size=3), max_size=10), st.randoms(use_true_random=False), st.booleans())
def test_the_same_content_is_the_same_state(wanted: dict[str, bytes], order: random.Random, sharded: bool) -> None:
    """In whatever order it came, in however many states, and whatever was there in between."""
    kept = {path: content for path, content in wanted.items() if not any(p.startswith(f"{path}/") for p in wanted)}
    roots = set()
    for _ in range(3):
        bucket, paths = Bucket(), list(kept)
        order.shuffle(paths)
        with mock.patch.object(hamt, "THRESHOLD", 100 if sharded else hamt.THRESHOLD):
            draft = bucket.draft()
            for path in paths:
                if order.random() < 0.3:
                    change(bucket, draft, "store", f"{path}-gone", b"for a while")
                if order.random() < 0.5:
                    bucket.commit(draft)
                    draft = bucket.draft()
                change(bucket, draft, "store", path, kept[path])
            for path in [path for path in bucket.files if path not in kept]:
                change(bucket, draft, "unlink", path, None)
            bucket.commit(draft)
        roots.add(bucket.root)
    assert len(roots) == 1
