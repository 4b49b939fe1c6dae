"""A bucket that grows: to 200,000 blobs with all of the server's limits, and over each border between levels.

The 200,000 take a while: in a plain `make test` a 25th of them, with a 25th of each limit, go the same way.
"""

import hashlib
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import Full, NotFound
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.textile import capacity
from ipfsreg.bucket.textile.placement import LEVELS, Place, place_of
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.names import Repository
from tests.bucket.running import running
from tests.bucket.storage import Collecting, read_into
from tests.full import FULL
from tests.marks import full

from .backend import LIMIT, Backend
from .double import Limits, Synthetic, TextileDouble
from .double.accounts import ApiKey
from .double.bucket import Bucket
from .double.tree import Directory, File, Node
from .double.unixfs import RAW, cid_bytes

THREAD, BUCKET = "buckets", "ipfsreg"
REPOSITORY = Repository("team/app")

PART = 1 if FULL else 25
STAGES = (0, 50_000, 100_000, 200_000) if FULL else (0, 2_000, 8_000)
PUSHES = 10 if FULL else 4

NETWORK = 0.02
"""Seconds of a round trip to a server that is near."""

FLAT = 2.5
"""By how much the slowest stage's median may differ from the fastest's on that network."""


def content_of(number: int) -> bytes:
    return b"layer %d" % number


def blob_paths(digest: Digest) -> tuple[str, str]:
    """Where the registry puts a blob, and the repository's link to it."""
    return layout.blob(digest), layout.blob_link(REPOSITORY, digest)


class Growth:
    """Puts files into the double past the network, each where the backend, at that moment, would have put it.

    The backend goes by what the server says of a bucket's paths, this by a count of its own; `test_200_000_blobs`
    compares the two.
    """

    def __init__(self, double: TextileDouble, key: ApiKey) -> None:
        self.double = double
        self.key = key
        self.buckets: dict[Place, str] = {}
        self.paths: Counter[Place] = Counter()
        self.level = 0
        self.blobs = 0
        self.names: set[str] = set()
        """The file names in the directory `SAMPLE` of the blobs."""
        self.of_level: dict[int, list[int]] = defaultdict(list)
        """Some blobs of each level by number."""
        self._waiting: dict[Place, dict[str, dict[str, File]]] = defaultdict(lambda: defaultdict(dict))

    def place_for(self, path: str) -> Place:
        place = place_of(path, self.level)
        while self.paths[place] >= (capacity.LAST_FULL if place.is_last else capacity.FULL):
            self.level += 1
            place = place_of(path, self.level)
        return place

    def add(self, path: str, content: bytes) -> Place:
        place = self.place_for(path)
        self.paths[place] += 1
        cid = cid_bytes(RAW, hashlib.sha256(content).digest())
        file = self.double.ipfs.add_file(cid, Synthetic(len(content), content), len(content), raw=True)
        directory, _, name = path.rpartition("/")
        self._waiting[place][directory][name] = file
        return place

    def grow(self, blobs: int) -> None:
        """So many blobs in all, each with a link."""
        for number in range(self.blobs, blobs):
            content = content_of(number)
            digest = digest_of(content)
            blob, link = blob_paths(digest)
            place = self.add(blob, content)
            self.add(link, b"%02d\n" % len(content))
            if number % 97 == 0:
                self.of_level[place.level].append(number)
            self.note(digest)
        self.blobs = blobs
        for place, files in self._waiting.items():
            self._put(self.bucket_at(place), files)
        self._waiting.clear()

    def _put(self, key: str, directories: Mapping[str, Mapping[str, File]]) -> None:
        """As `TextileDouble.put_files`, in a quarter of its time: a directory is linked once for all its files."""
        ipfs, buckets = self.double.ipfs, self.double.buckets
        draft = self.double.bucket(key).draft()
        for path, files in directories.items():
            directory = directory_at(draft.root, path) or ipfs.empty_directory(False)
            for name, file in files.items():
                directory = directory.replace(name, file)
                draft.metadata.touch(f"{path}/{name}", buckets.now())
            draft.root = ipfs.put(draft.root, path.split("/"), directory)
        buckets.save_now(draft)

    def note(self, digest: Digest) -> None:
        if digest.hex.startswith(SAMPLE):
            self.names.add(digest.hex)

    def bucket_at(self, place: Place) -> str:
        """The key of the bucket at a place; made as the backend makes it where it is not there."""
        if place not in self.buckets:
            name = place.thread_name(THREAD)
            thread = next((each for each in self.double.threads.by_id.values() if each.name == name), None)
            if thread is None:
                thread = self.double.add_thread(name, self.key)
            found = [each for each in self.double.buckets.all() if each.thread == thread.id_string]
            self.buckets[place] = (found[0] if found else self.double.add_bucket(thread, BUCKET)).key
        return self.buckets[place]


SAMPLE = "a7"


def directory_at(root: Directory, path: str) -> Directory | None:
    node: Node = root
    for name in path.split("/"):
        child = node.entries.get(name) if isinstance(node, Directory) else None
        if child is None:
            return None
        node = child
    return node if isinstance(node, Directory) else None


def directories(node: Directory) -> Iterator[Directory]:
    yield node
    for child in node.entries.values():
        if isinstance(child, Directory):
            yield from directories(child)


def largest(double: TextileDouble) -> tuple[int, int, int]:
    """The most bytes of a document, of a thread's documents together, and of a directory's block."""
    buckets: list[Bucket] = double.buckets.all()
    threads: Counter[str] = Counter()
    for bucket in buckets:
        threads[bucket.thread] += bucket.document_size()
    blocks = (each.block_size for bucket in buckets for each in directories(bucket.root))
    return max(bucket.document_size() for bucket in buckets), max(threads.values()), max(blocks)


async def push_blobs(backend: Backend, growth: Growth) -> list[float]:
    """Push some blobs with their links, one after the other; the seconds of each push of a file."""
    seconds = []
    for number in range(growth.blobs, growth.blobs + PUSHES):
        content = content_of(number)
        digest = digest_of(content)
        for path, data in zip(blob_paths(digest), (content, b"%02d\n" % len(content)), strict=True):
            place = growth.place_for(path)
            began = time.perf_counter()
            await backend.bucket.put(path, data)
            seconds.append(time.perf_counter() - began)
            assert growth.double.bucket(growth.bucket_at(place)).metadata.get(path) is not None, place
            growth.paths[place] += 1
        growth.note(digest)
    growth.blobs += PUSHES
    return seconds


async def read(bucket: IBucket, path: str) -> bytes:
    reader = await bucket.open(path)
    consumer = Collecting()
    await read_into(reader, consumer, 0, LIMIT)
    reader.close()
    return consumer.content


@pytest_twisted.ensureDeferred
async def test_200_000_blobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits()
    assert limits.document is not None
    assert limits.documents is not None
    assert limits.directory_block is not None
    limits.document //= PART
    limits.documents //= PART
    limits.directory_block //= PART
    for name in ("FULL", "LAST_FULL", "FULL_BYTES", "LAST_FULL_BYTES", "COUNTED_BYTES"):
        monkeypatch.setattr(capacity, name, getattr(capacity, name) // PART)
    double = TextileDouble(hub=True, limits=limits).start()
    growth = Growth(double, double.accounts.add_key())
    far: dict[int, float] = {}
    lines = []
    for stage in STAGES:
        growth.grow(max(stage, growth.blobs))
        # A daemon that was started anew, since what is put past the network is put past it as well.
        async with running(Backend(double, tmp_path / str(stage), growth.key)) as backend:
            began = time.perf_counter()
            with pytest.raises(NotFound):
                await backend.bucket.stat("blobs/none")
            first = time.perf_counter() - began
            double.calls.clear()
            near = statistics.median(await push_blobs(backend, growth))
            double.faults.latency = NETWORK
            far[stage] = statistics.median(await push_blobs(backend, growth))
            double.faults.latency = 0.0
            # All pushes succeeded at once, with one call each: nothing was refused, looked for, or tried again.
            assert {record.status for record in double.calls} == {0}
            methods = Counter(double.calls.methods())
            assert methods.pop("PushPath") == 4 * PUSHES
            # What may be replaced asks for the levels meanwhile: the links.
            assert methods.pop("ListThreads", 0) <= 2 * PUSHES + 3
            made = methods.pop("NewDB", 0)
            assert made == methods.pop("Create", 0)
            assert set(methods) <= {"List"}
            lines.append(
                f"{stage:>7} blobs in {len(double.buckets.all())} buckets: {far[stage] * 1000:.0f} ms a push, without "
                f"the network's delay {near * 1000:.1f} ms; first request after the start {first * 1000:.0f} ms"
            )
            if stage == STAGES[-1]:
                began = time.perf_counter()
                await check_reading(backend.bucket, growth)
                lines.append(f"reading samples of every level, and two listings: {time.perf_counter() - began:.1f} s")
    document, documents, block = largest(double)
    lines.append(f"at most {document} bytes of a document, {documents} of a thread's, {block} of a directory")
    lines.append(f"paths of a bucket at most: {max(growth.paths.values())}")
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *lines, ""]))
    assert max(document, documents) <= limits.document / 2
    assert block <= limits.directory_block / 2
    assert sum(growth.paths.values()) >= 2 * STAGES[-1]
    assert max(far.values()) <= FLAT * min(far.values())
    await double.stop()


async def check_reading(bucket: IBucket, growth: Growth) -> None:
    assert sorted(growth.of_level) == list(range(LEVELS))
    for numbers in growth.of_level.values():
        for number in (numbers[0], numbers[-1]):
            content = content_of(number)
            blob, link = blob_paths(digest_of(content))
            assert (await bucket.stat(blob)).size == len(content)
            assert await bucket.get(blob, LIMIT) == content
            assert await read(bucket, blob) == content
            assert await bucket.get(link, LIMIT) == b"%02d\n" % len(content)
    assert len(await bucket.list("blobs/sha256")) == 256
    assert {entry.name for entry in await bucket.list(f"blobs/sha256/{SAMPLE}")} == growth.names


def directories_of(paths: Iterable[str]) -> list[str]:
    """The top directories of some paths."""
    return sorted({path.partition("/")[0] for path in paths})


async def fill(bucket: IBucket, directory: str) -> list[str]:
    """Put files into a directory until no more can be put there; their paths."""
    paths: list[str] = []
    for number in range(capacity.LAST_FULL + 1):
        try:
            await bucket.put(f"{directory}/more{number}", b"x")
        except Full:
            return paths
        paths.append(f"{directory}/more{number}")
    raise AssertionError(f"{directory} takes more than it should")


@full
@pytest_twisted.ensureDeferred
async def test_over_each_border_between_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For real: small buckets, that the backend fills, and makes where there are none yet."""
    monkeypatch.setattr(capacity, "FULL", 4)  # of which the server's own entries are two
    monkeypatch.setattr(capacity, "LAST_FULL", 13)
    double = TextileDouble(hub=True).start()
    key = double.accounts.add_key()
    contents: dict[str, bytes] = {}
    tag = "repositories/team/app/_tags/latest"
    written: set[int] = set()  # levels at which the tag was written

    def holders(path: str) -> list[Bucket]:
        return [bucket for bucket in double.buckets.all() if bucket.metadata.get(path) is not None]

    async with running(Backend(double, tmp_path / "one", key)) as backend:
        bucket = backend.bucket
        for number in range(54):
            path = f"d{number % 18}/{number:03}"
            contents[path] = content_of(number)
            await bucket.put(path, contents[path])
            if number % 9 == 0:
                contents[tag] = b"%d" % number
                await bucket.put(tag, contents[tag])
                assert await bucket.get(tag, LIMIT) == contents[tag]
                written.add(len(holders(tag)))
        threads = {thread.name for thread in double.threads.by_id.values()}
        by_level = {level: sum(f"buckets-{level}-" in name for name in threads) for level in range(1, LEVELS)}
        assert by_level[1] > 1
        assert by_level[2] > 1
        assert by_level[3] > 1
        assert len(threads) <= 85
        # Every write of a tag went to the level of its time, and none of the older ones was taken away.
        assert max(written) >= 3
        assert len({bucket.thread for bucket in double.buckets.all()}) == len(double.buckets.all())
        assert all(len(each.metadata) <= capacity.LAST_FULL + 1 for each in double.buckets.all())

    async with running(Backend(double, tmp_path / "two", key)) as backend:
        bucket = backend.bucket
        for path, content in [*list(contents.items())[::3], (tag, contents[tag])]:
            assert (await bucket.stat(path)).size == len(content)
            assert await bucket.get(path, LIMIT) == content
            assert await read(bucket, path) == content
        assert [each.name for each in await bucket.list("d7")] == ["007", "025", "043"]
        walked = [
            f"{listing.directory}/{entry.name}"
            for directory in directories_of(contents)
            async for page in bucket.walk(directory)
            for listing in page
            for entry in listing.entries
            if not entry.is_directory
        ]
        assert sorted(walked) == sorted(contents)

        # A path that fills the last bucket it can be in is refused, and all that is there remains.
        more = await fill(bucket, "d7")
        contents |= dict.fromkeys(more, b"x")
        with pytest.raises(Full):
            await bucket.put("d7/yet", b"x")
        assert await bucket.get("d7/007", LIMIT) == content_of(7)

        gone = [path for path in contents if path.startswith(("d1", "d2", "d7", "repositories"))]
        for path in gone:
            await bucket.remove(path)
            with pytest.raises(NotFound):
                await bucket.stat(path)
            assert not holders(path)
        assert not [entry for directory in directories_of(gone) for entry in await bucket.list(directory)]
        left = [path for each in double.buckets.all() for path in double.files(each.key)]
        assert sorted(left) == sorted(set(contents) - set(gone))
        # There is room again.
        await bucket.put("d7/007", b"again")
        assert await bucket.get("d7/007", LIMIT) == b"again"
    await double.stop()
