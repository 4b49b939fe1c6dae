"""Where things are in the bucket: no two at one place, and each found again by listing."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from twisted.internet.defer import Deferred, succeed

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import check_path
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.record import Record, read_record, write_record
from tests.bucket.scheduled import ScheduledBucket, Scheduler
from tests.full import examples

from .test_names import digests, repositories, tags

some_digests = digests.map(parse_digest)
some_repositories = st.one_of(repositories, st.sampled_from(["a", "a/b", "a/b/c", "b", "tags", "blobs", "sha256/ab"]))


class Memory(ScheduledBucket):
    """A bucket in memory that answers at once."""

    def __init__(self) -> None:
        super().__init__(Scheduler())

    def run(self, work: object) -> object:
        results: list[object] = []
        deferred = Deferred.fromCoroutine(work) if not isinstance(work, Deferred) else work  # type: ignore[arg-type]
        deferred.addBoth(results.append)
        self._scheduler.fire_all()
        (result,) = results
        return result


async def tags_of(bucket: Memory, repository: Repository) -> list[Tag]:
    return sorted([tag async for some in layout.tags(bucket, repository) for tag in some])


@given(
    st.lists(st.tuples(some_repositories.map(Repository), tags.map(Tag)), max_size=4, unique=True),
    st.lists(st.tuples(some_repositories.map(Repository), some_digests), max_size=4, unique=True),
    st.lists(st.tuples(some_repositories.map(Repository), some_digests), max_size=4, unique=True),
    st.lists(st.tuples(some_repositories.map(Repository), some_digests, some_digests), max_size=4, unique=True),
    st.lists(some_digests, max_size=4, unique=True),
)
@settings(max_examples=examples(20, 150), deadline=None)
def test_everything_is_found_again(
    some_tags: list[tuple[Repository, Tag]],
    links: list[tuple[Repository, Digest]],
    records: list[tuple[Repository, Digest]],
    referrers: list[tuple[Repository, Digest, Digest]],
    contents: list[Digest],
) -> None:
    """Also beside files that are none of ours."""
    bucket = Memory()
    paths = [
        *(layout.tag(*each) for each in some_tags),
        *(layout.blob_link(*each) for each in links),
        *(layout.manifest_record(*each) for each in records),
        *(layout.referrer(*each) for each in referrers),
        *(layout.blob(each) for each in contents),
        *(layout.quarantined(each) for each in contents),
    ]
    assert len(paths) == len(set(paths))
    for path in paths:
        check_path(path)
    for path in paths:  # none is where another one needs a directory
        assert not any(other.startswith(f"{path}/") for other in paths)
    bucket.files = dict.fromkeys([*paths, *JUNK], b"")

    async def everything() -> None:
        named: set[Repository] = {each for each, _ in some_tags} | {each for each, _ in links + records}
        named |= {each for each, _, _ in referrers}
        assert [each async for each in layout.repositories(bucket)] == sorted(named, key=lambda name: name.split("/"))
        assert {each async for each in layout.repositories_with_manifests(bucket)} == {each for each, _ in records}
        assert [each async for each in layout.all_blobs(bucket)] == sorted(contents)
        for repository in named:
            mine = sorted(tag for each, tag in some_tags if each == repository)
            assert await tags_of(bucket, repository) == mine
            assert [each async for each in layout.blob_links(bucket, repository)] == sorted(
                digest for each, digest in links if each == repository
            )
            found = [each async for each in layout.manifest_records(bucket, repository)]
            assert found == sorted(digest for each, digest in records if each == repository)
            assert await layout.has_manifests(bucket, repository) == bool(found)
            entries = [(subject, digest) for each, subject, digest in referrers if each == repository]
            assert sorted([each async for each in layout.referrer_entries(bucket, repository)]) == sorted(entries)
            for subject, _ in entries:
                referring = sorted(digest for each, digest in entries if each == subject)
                listed = await bucket.list(layout.referrers(repository, subject))
                assert layout.referring(listed) == sorted(referring)

    assert bucket.run(everything()) is None


JUNK = [
    "blobs/sha256/ab/short",
    f"blobs/sha256/ab/{'cd' * 32}",  # in a place where nothing looks for it
    f"blobs/sha256:{'ab' * 32}",
    f"blobs/md5/ab/{'ab' * 16}",
    f"blobs/sha256/{'ab' * 32}",
    "blobs/README",
    "repositories/README",
    "repositories/Upper/_tags/x",
    "lost+found/x",
]


def test_a_tag_and_a_repository_of_the_same_name() -> None:
    """The tag `b` of `a` and the repository `a/b` are different things."""
    bucket = Memory()
    bucket.files = {layout.tag(Repository("a"), Tag("b")): b"", layout.tag(Repository("a/b"), Tag("b")): b""}
    assert len(bucket.files) == 2

    async def look() -> None:
        assert [each async for each in layout.repositories(bucket)] == ["a", "a/b"]
        assert await tags_of(bucket, Repository("a")) == ["b"]
        assert await tags_of(bucket, Repository("a/b")) == ["b"]

    assert bucket.run(look()) is None


@given(
    st.text(max_size=80),
    st.integers(0, 2**40),
    st.floats(0, 2**40, allow_nan=False),
    st.booleans(),
)
def test_records(media_type: str, size: int, released: float, discarded: bool) -> None:
    bucket, repository, digest = Memory(), Repository("a"), Digest("sha256", "0" * 64)
    record = Record(mediaType=media_type, size=size, released=released, discarded=discarded)
    assert bucket.run(write_record(bucket, repository, digest, record)) is None
    assert bucket.run(read_record(bucket, repository, digest)) == record
    # A later version may have more to say.
    path = layout.manifest_record(repository, digest)
    bucket.files[path] = bucket.files[path].replace(b"{", b'{"later": [1],', 1)
    assert bucket.run(read_record(bucket, repository, digest)) == record
    assert bucket.run(read_record(bucket, Repository("b"), digest)) is None


@given(st.binary(max_size=60))
def test_damaged_records(content: bytes) -> None:
    bucket, repository, digest = Memory(), Repository("a"), Digest("sha256", "0" * 64)
    bucket.files[layout.manifest_record(repository, digest)] = content

    async def read() -> None:
        with pytest.raises(Corrupt, match="repositories/a/_manifests"):
            await read_record(bucket, repository, digest)

    assert bucket.run(read()) is None


def test_memory_answers() -> None:
    assert Memory().run(succeed(5)) == 5


@given(some_repositories.map(Repository), tags.map(Tag), some_digests, some_digests)
@settings(max_examples=examples(20, 150), deadline=None)
def test_what_the_layout_names_belongs_there(repository: Repository, tag: Tag, digest: Digest, subject: Digest) -> None:
    """With all directories on the way; and nothing of it belongs there as the other kind."""
    for path in (
        layout.tag(repository, tag),
        layout.blob_link(repository, digest),
        layout.manifest_record(repository, digest),
        layout.referrer(repository, subject, digest),
        layout.blob(digest),
        layout.dag(digest),
    ):
        assert layout.belongs(path, is_directory=False)
        assert not layout.belongs(path, is_directory=True)
        parts = path.split("/")
        for length in range(2, len(parts)):
            above = "/".join(parts[:length])
            assert layout.belongs(above, is_directory=True)
            assert not layout.belongs(above, is_directory=False)
        assert not layout.belongs(f"{path}/below", is_directory=False)
        assert not layout.belongs(f"{path}~", is_directory=False)
