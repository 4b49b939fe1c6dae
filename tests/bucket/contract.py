"""The contract of a bucket as tests. A backend is held to it by a subclass with a fixture named ``storage``::

    class TestMine(BucketContract):
        @pytest_twisted.async_yield_fixture()
        async def storage(self, tmp_path: Path) -> AsyncIterator[Storage]:
            ...

The rules are those of `ipfsreg.bucket.interface.IBucket`.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
import pytest_twisted

from ipfsreg.bucket import bulk
from ipfsreg.bucket.errors import BucketError, InTheWay, NotFound, TooLarge, Unavailable
from ipfsreg.bucket.interface import Entry, IBucket
from tests.full import examples

from .contract_reading import LargeFiles
from .helpers import LIMIT, names, pause, read, spawn, together
from .storage import Collecting, Storage, read_into

__all__ = ["SAMPLE", "BucketContract", "spawn", "together"]

SAMPLE = (
    "test_what_was_put_is_there",
    "test_replacing",
    "test_missing",
    "test_removing",
    "test_moving",
    "test_listing",
    "test_walking",
    "test_put_file",
    "test_ranges",
    "test_one_of_many_writers_wins",
    "test_what_was_acknowledged_outlives_the_daemon",
    "test_an_outage_never_looks_like_an_absence",
)
"""What a storage that is much like another runs of the contract in a plain `make test`: see `tests.marks.sampled`."""


class SmallFiles:
    """`put`, `get`, `stat`, `remove`, `move`."""

    @pytest_twisted.ensureDeferred
    async def test_what_was_put_is_there(self, storage: Storage) -> None:
        bucket = storage.bucket
        await bucket.put("a/b/c", b"content")
        assert await bucket.get("a/b/c", LIMIT) == b"content"
        assert (await bucket.stat("a/b/c")).size in {7, None}
        assert await read(bucket, "a/b/c") == b"content"

    @pytest_twisted.ensureDeferred
    async def test_an_empty_file(self, storage: Storage) -> None:
        await storage.bucket.put("empty", b"")
        assert await storage.bucket.get("empty", 1) == b""
        assert (await storage.bucket.stat("empty")).size in {0, None}
        assert await read(storage.bucket, "empty") == b""

    @pytest_twisted.ensureDeferred
    async def test_names_of_the_registry(self, storage: Storage) -> None:
        paths = ["repositories/a-b.c__d/_tags/V1.0-x_y", "blobs/sha256/ab/" + "ab" * 32, "x/" + "y" * 128, "0"]
        for path in paths:
            await storage.bucket.put(path, path.encode())
        for path in paths:
            assert await storage.bucket.get(path, LIMIT) == path.encode()

    @pytest_twisted.ensureDeferred
    async def test_replacing(self, storage: Storage) -> None:
        for content in (b"longer content", b"short", b"", b"again"):
            await storage.bucket.put("d/f", content)
            assert await storage.bucket.get("d/f", LIMIT) == content
        assert await names(storage.bucket, "d") == ["f"]

    @pytest_twisted.ensureDeferred
    async def test_the_limit_of_get(self, storage: Storage) -> None:
        await storage.bucket.put("f", b"12345")
        assert await storage.bucket.get("f", 5) == b"12345"
        with pytest.raises(TooLarge):
            await storage.bucket.get("f", 4)

    @pytest_twisted.ensureDeferred
    async def test_many_small_files_at_once(self, storage: Storage) -> None:
        bucket = storage.bucket
        assert [each async for each in bulk.names(bucket, "d")] in ([], [[]])
        await bucket.put("d/1", b"one")
        await bucket.put("d/2", b"two")
        found = await bulk.get_each(bucket, [("d/2", LIMIT), ("d/none", LIMIT), ("none/d", LIMIT), ("d/1", 2)])
        assert found[0] == b"two"
        assert [type(each) for each in found[1:]] == [NotFound, NotFound, TooLarge]
        assert await bulk.get_each(bucket, []) == []
        looked = await bulk.stat_each(bucket, ["d/2", "d/none", "none/d"])
        assert looked[0] == await bucket.stat("d/2")
        assert [type(each) for each in looked[1:]] == [NotFound, NotFound]
        assert sorted([name async for some in bulk.names(bucket, "d") for name in some]) == ["1", "2"]

    @pytest_twisted.ensureDeferred
    async def test_files_by_their_content(self, storage: Storage) -> None:
        """Where a listing tells of it, it tells of each."""
        bucket = storage.bucket
        for name, content in (("1", b"one"), ("2", b"two"), ("again", b"one"), ("long", b"one" * 100_000)):
            await bucket.put(f"d/{name}", content)
        await bucket.put("d/e/1", b"one")
        found = await bulk.names_with(bucket, "d", b"one")
        if found is not None:
            assert set(found.certain) == {"1", "again"}
            assert set(found.possible) <= {"long"}
            assert await bulk.names_with(bucket, "none", b"one") == bulk.WithContent([], [])

    @pytest_twisted.ensureDeferred
    async def test_missing(self, storage: Storage) -> None:
        bucket = storage.bucket
        await bucket.put("d/f", b"1")
        for path in ("none", "d/none", "none/none"):
            calls: list[Callable[[], Awaitable[object]]] = [
                partial(bucket.get, path, LIMIT),
                partial(bucket.stat, path),
                partial(bucket.open, path),
                partial(bucket.remove, path),
                partial(bucket.move, path, "elsewhere"),
            ]
            for call in calls:
                with pytest.raises(NotFound):
                    await call()
        assert await names(bucket, "d") == ["f"]

    @pytest_twisted.ensureDeferred
    async def test_what_is_no_file(self, storage: Storage) -> None:
        bucket = storage.bucket
        await bucket.put("d/f", b"1")
        for path in ("d/f/none", "d"):
            calls: list[Callable[[], Awaitable[object]]] = [
                partial(bucket.get, path, LIMIT),
                partial(bucket.stat, path),
                partial(bucket.open, path),
                partial(bucket.remove, path),
            ]
            if storage.no_file is NotFound:
                calls.append(partial(bucket.move, path, "elsewhere"))
            for call in calls:
                with pytest.raises(storage.no_file):
                    await call()
        assert await names(bucket, "d") == ["f"]

    @pytest_twisted.ensureDeferred
    async def test_what_is_no_path_is_refused(self, storage: Storage) -> None:
        bucket = storage.bucket
        for path in ("", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b"):
            calls: list[Callable[[], Awaitable[object]]] = [
                partial(bucket.put, path, b""),
                partial(bucket.get, path, 1),
                partial(bucket.remove, path),
                partial(bucket.move, "a", path),
                partial(bucket.list, path),
            ]
            for call in calls:
                with pytest.raises(ValueError, match="path"):
                    await call()

    @pytest_twisted.ensureDeferred
    async def test_removing(self, storage: Storage) -> None:
        bucket = storage.bucket
        await bucket.put("a/b/c/1", b"1")
        await bucket.put("a/2", b"2")
        await bucket.remove("a/b/c/1")
        with pytest.raises(NotFound):
            await bucket.get("a/b/c/1", LIMIT)
        # A directory that has lost its last file is gone with it.
        assert await bucket.list("a") == [Entry("2", False)]
        assert await bucket.list("a/b") == []
        await bucket.remove("a/2")
        assert await bucket.list("a") == []
        await bucket.put("a/b/c/1", b"again")
        assert await bucket.get("a/b/c/1", LIMIT) == b"again"

    @pytest_twisted.ensureDeferred
    async def test_moving(self, storage: Storage) -> None:
        bucket = storage.bucket
        await bucket.put("from/here/f", b"moved")
        await bucket.put("to/g", b"replaced")
        await bucket.move("from/here/f", "to/g")
        assert await bucket.get("to/g", LIMIT) == b"moved"
        with pytest.raises(NotFound):
            await bucket.stat("from/here/f")
        assert await bucket.list("from") == []
        await bucket.move("to/g", "new/place/h")
        assert await bucket.get("new/place/h", LIMIT) == b"moved"


class Directories:
    """`list` and `walk`."""

    @pytest_twisted.ensureDeferred
    async def test_listing(self, storage: Storage) -> None:
        bucket = storage.bucket
        for path in ("d/b", "d/a", "d/c/x", "d/B", "d/0", "d/_x/y", "d/c/z", "other/e"):
            await bucket.put(path, b"")
        assert list(await bucket.list("d")) == [
            Entry("0", False),
            Entry("B", False),
            Entry("_x", True),
            Entry("a", False),
            Entry("b", False),
            Entry("c", True),
        ]
        assert await names(bucket, "d/c") == ["x", "z"]
        assert await bucket.list("none") == []
        assert await bucket.list("d/none") == []
        with suppress(InTheWay):  # where the storage can tell that a file is there
            assert await bucket.list("d/a") == []

    @pytest_twisted.ensureDeferred
    async def test_a_large_directory(self, storage: Storage) -> None:
        wanted = sorted(f"{number}" for number in range(examples(75, 150)))
        await together(*(storage.bucket.put(f"d/{name}", b"") for name in wanted))
        assert await names(storage.bucket, "d") == wanted

    @pytest_twisted.ensureDeferred
    async def test_walking(self, storage: Storage) -> None:
        bucket = storage.bucket
        for path in ("d/b/x", "d/b/y", "d/a", "d/b0/z", "d/c/deep/er/f", "d/skip/this/f", "e/f"):
            await bucket.put(path, b"")

        async def walked(directory: str, into: Callable[[str], bool] | None = None) -> list[tuple[str, list[str]]]:
            found = []
            async for listings in bucket.walk(directory, into):
                found += [(each.directory, [entry.name for entry in each.entries]) for each in listings]
            return found

        everything = [
            ("d", ["a", "b", "b0", "c", "skip"]),
            ("d/b", ["x", "y"]),
            ("d/b0", ["z"]),
            ("d/c", ["deep"]),
            ("d/c/deep", ["er"]),
            ("d/c/deep/er", ["f"]),
            ("d/skip", ["this"]),
            ("d/skip/this", ["f"]),
        ]
        assert await walked("d") == everything
        asked: list[str] = []

        def into(path: str) -> bool:
            asked.append(path)
            return path != "d/skip"

        assert await walked("d", into) == everything[:-2]
        assert sorted(asked) == ["d/b", "d/b0", "d/c", "d/c/deep", "d/c/deep/er", "d/skip"]
        assert await walked("d", lambda path: False) == everything[:1]
        assert await walked("none") == []
        with suppress(InTheWay):  # where the storage can tell that a file is there
            assert await walked("d/a") == []

    @pytest_twisted.ensureDeferred
    async def test_a_long_walk_misses_nothing_beside_changes(self, storage: Storage) -> None:
        bucket = storage.bucket
        files = examples(100, 200)
        lasting = {f"d/{number % 17:02}/{number:03}" for number in range(0, files, 2)}
        passing = [f"d/{number % 17:02}/{number:03}" for number in range(1, files, 2)]
        await together(*(bucket.put(path, b"") for path in (*lasting, *passing)))

        async def change() -> None:
            for path in passing:
                await bucket.remove(path)

        found: list[str] = []

        async def walk() -> None:
            async for listings in bucket.walk("d"):
                for each in listings:
                    found.extend(f"{each.directory}/{entry.name}" for entry in each.entries if not entry.is_directory)

        await together(change(), walk())
        assert lasting <= set(found) <= lasting | set(passing)
        assert found == sorted(found)


class Concurrency:
    """Several writers and readers at once."""

    @pytest_twisted.ensureDeferred
    async def test_readers_never_see_a_mix(self, storage: Storage) -> None:
        bucket = storage.bucket
        versions = [bytes([65 + number]) * (40_000 + 7_001 * number) for number in range(8)]
        await bucket.put("d/f", versions[0])
        writing = True

        async def write() -> None:
            nonlocal writing
            for number, version in enumerate(versions * examples(1, 2)):
                if number % 2:
                    await bucket.put("d/f", version)
                else:
                    await bucket.put_file("d/f", storage.spooled(version))
            writing = False

        async def check() -> None:
            while writing:
                assert await bucket.get("d/f", LIMIT) in versions
                reader = await bucket.open("d/f")
                consumer = Collecting()
                if reader.size is not None:
                    await read_into(reader, consumer, 0, reader.size)
                    assert consumer.content in versions
                reader.close()
                await pause()

        await together(write(), check(), check())
        assert await bucket.get("d/f", LIMIT) == versions[-1]

    @pytest_twisted.ensureDeferred
    async def test_one_of_many_writers_wins(self, storage: Storage) -> None:
        bucket = storage.bucket
        versions = [bytes([65 + number]) * (50_000 + number) for number in range(12)]
        await together(
            *(
                bucket.put("d/f", version) if number % 2 else bucket.put_file("d/f", storage.spooled(version))
                for number, version in enumerate(versions)
            )
        )
        assert await bucket.get("d/f", LIMIT) in versions
        assert await names(bucket, "d") == ["f"]
        await bucket.put("d/f", b"the last one")
        assert await bucket.get("d/f", LIMIT) == b"the last one"

    @pytest_twisted.ensureDeferred
    async def test_directories_that_come_and_go(self, storage: Storage) -> None:
        bucket = storage.bucket

        async def churn(name: str) -> None:
            for _ in range(examples(4, 10)):
                await bucket.put(f"top/a/b/{name}", name.encode())
                assert await bucket.get(f"top/a/b/{name}", LIMIT) == name.encode()
                await bucket.move(f"top/a/b/{name}", f"top/a/c/{name}")
                await bucket.remove(f"top/a/c/{name}")

        await together(*(churn(f"f{number}") for number in range(6)))
        assert await bucket.list("top") == []

    @pytest_twisted.ensureDeferred
    async def test_two_that_remove_the_same(self, storage: Storage) -> None:
        bucket = storage.bucket
        outcomes: list[str] = []

        async def remove() -> None:
            try:
                await bucket.remove("d/f")
                outcomes.append("removed")
            except NotFound:
                outcomes.append("missing")

        for _ in range(10):
            await bucket.put("d/f", b"")
            await together(remove(), remove())
        assert sorted(outcomes) == ["missing"] * 10 + ["removed"] * 10


class Durability:
    """What was acknowledged is there when the daemon is not, and when the storage was away."""

    @pytest_twisted.ensureDeferred
    async def test_what_was_acknowledged_outlives_the_daemon(self, storage: Storage) -> None:
        await storage.bucket.put("a/f", b"put")
        await storage.bucket.put_file("a/g", storage.spooled(b"from a file"))
        await storage.bucket.put("a/h", b"moved")
        await storage.bucket.move("a/h", "b/h")
        await storage.bucket.put("a/i", b"removed")
        await storage.bucket.remove("a/i")
        bucket = await storage.reopened()
        assert await bucket.get("a/f", LIMIT) == b"put"
        assert await read(bucket, "a/g") == b"from a file"
        assert await bucket.get("b/h", LIMIT) == b"moved"
        assert await names(bucket, "a") == ["f", "g"]

    @pytest_twisted.ensureDeferred
    async def test_an_outage_never_looks_like_an_absence(self, storage: Storage) -> None:
        bucket = storage.bucket
        await bucket.put("d/f", b"there")
        await bucket.put("d/g", b"there too")
        source = storage.spooled(b"a file")
        async with storage.outage():
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: bucket.stat("d/f"),
                lambda: bucket.stat("none"),
                lambda: bucket.get("d/f", LIMIT),
                lambda: bucket.get("none", LIMIT),
                lambda: bucket.open("d/f"),
                lambda: bucket.put("d/f", b"changed"),
                lambda: bucket.put("new/f", b"new"),
                lambda: bucket.put_file("d/f", source),
                lambda: bucket.put_file("new/g", source),
                lambda: bucket.move("d/f", "d/h"),
                lambda: bucket.remove("d/f"),
                lambda: bucket.list("d"),
                lambda: bucket.list("none"),
                lambda: _walk(bucket, "d"),
            ]
            for number, call in enumerate(calls):
                outcome: object
                try:
                    outcome = await call()
                except BucketError as error:
                    outcome = error
                assert isinstance(outcome, Unavailable), f"call {number}"
                assert outcome.retry_after > 0, f"call {number}"
        assert source.read_bytes() == b"a file"
        # Everything is as it was, and works again.
        assert await bucket.get("d/f", LIMIT) == b"there"
        assert await names(bucket, "d") == ["f", "g"]
        assert await bucket.list("new") == []
        with pytest.raises(NotFound):
            await bucket.stat("none")
        await bucket.put_file("d/f", source)
        assert await bucket.get("d/f", LIMIT) == b"a file"

    @pytest_twisted.ensureDeferred
    async def test_it_says_what_it_is(self, storage: Storage) -> None:
        assert storage.bucket.name
        assert storage.bucket.shared in {True, False}
        assert IBucket.providedBy(storage.bucket)
        await pause()


async def _walk(bucket: IBucket, directory: str) -> list[str]:
    return [each.directory async for listings in bucket.walk(directory) for each in listings]


class BucketContract(SmallFiles, Directories, LargeFiles, Concurrency, Durability):
    """All of it."""
