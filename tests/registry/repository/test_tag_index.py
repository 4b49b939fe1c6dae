"""Which tags point to a manifest, and which there are, without reading all of them; and never less than there is."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import Full, NotFound
from ipfsreg.flow.gather import gather
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, digest_of, parse_digest
from ipfsreg.registry.errors import ManifestUnknown
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.tags import lexical
from tests.full import examples
from tests.registry.place import Place, image

Open = Callable[..., Awaitable[Place]]

APP = Repository("app")
BLOBS = [b"config", *(f"layer {number}".encode() for number in range(4))]
IMAGES = [image(BLOBS[0], blob) for blob in BLOBS[1:]]
DIGESTS = [digest_of(each) for each in IMAGES]
TAGS = [Tag(name) for name in ("a", "B", "b", "c_d", "C-d", "z9", "_")]


async def push(place: Place, number: int, *tags: Tag) -> None:
    await place.push_image(APP, tags, BLOBS[0], BLOBS[number + 1])


def tags_on_disk(place: Place) -> dict[Tag, Digest]:
    directory = place.files / layout.tags_of(APP)
    found = directory.iterdir() if directory.exists() else ()
    return {Tag(each.name): parse_digest(each.read_text().strip()) for each in found}


async def check(place: Place) -> None:
    """The index has every tag, and a page has no other."""
    there = tags_on_disk(place)
    for digest in DIGESTS:
        found = await place.registry.tags.pointing_to(APP, digest)
        assert {tag for tag, to in there.items() if to == digest} <= set(found)
    if there:
        ordered = sorted(there, key=lexical)
        assert await place.registry.tags.in_order(APP) == ordered
        assert await place.registry.tags.count(APP) == len(ordered)
        for most in (1, 3):
            assert await place.registry.tags.in_order(APP, ordered[0], most) == ordered[1 : most + 1]


class Reads:
    """Counts the files of tags that are read."""

    def __init__(self, place: Place, patch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        for name in ("get", "get_each", "list", "names"):
            real = getattr(place.bucket, name)

            def counted(first: object, *more: object, real: Callable[..., object] = real) -> object:
                paths = [first] if isinstance(first, str) else [path for path, _ in first]  # type: ignore[attr-defined]
                self.paths += [path for path in paths if "/_tags" in path]
                return real(first, *more)

            patch.setattr(place.bucket, name, counted)


@pytest_twisted.ensureDeferred
async def test_a_manifest_goes_with_its_tags_and_no_other_tag_is_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [Tag(f"tag-{number}") for number in range(300)]
    await push(place, 0, *many)
    await push(place, 1, Tag("one"), Tag("two"))
    await place.registry.cid_refresh.run_if_needed()
    reads = Reads(place, monkeypatch)
    await place.registry.manifests.delete(APP, DIGESTS[1])
    assert len(reads.paths) <= 4
    assert set(tags_on_disk(place)) == set(many)
    reads.paths.clear()
    assert await place.registry.tags.in_order(APP, most=2) == ["tag-0", "tag-1"]
    await push(place, 2, Tag("a"))
    assert await place.registry.tags.in_order(APP, most=2) == ["a", "tag-0"]
    assert all(path.endswith("/a") for path in reads.paths)


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_was_stopped_knows_it_the_next_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await push(place, 0, *TAGS)
    await push(place, 1, Tag("other"))
    await place.registry.cid_refresh.run_if_needed()
    await place.registry.stop()
    await place.start()
    reads = Reads(place, monkeypatch)
    assert await place.registry.tags.pointing_to(APP, DIGESTS[1]) == ["other"]
    assert reads.paths == []


@pytest_twisted.ensureDeferred
async def test_after_a_kill_the_tags_are_read_again_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await push(place, 0, *TAGS)
    await place.registry.cid_refresh.run_if_needed()
    (place.files / layout.tag(APP, Tag("unheard-of"))).write_text(f"{DIGESTS[0]}\n")  # its row was lost by the kill
    await place.restart()
    reads = Reads(place, monkeypatch)
    assert set(await place.registry.tags.pointing_to(APP, DIGESTS[0])) == {*TAGS, "unheard-of"}
    assert reads.paths
    reads.paths.clear()
    await check(place)
    assert reads.paths == []


@pytest_twisted.ensureDeferred
async def test_a_copy_of_the_file_alone_is_not_believed(place: Place) -> None:
    """One that was made while a daemon ran, without what SQLite keeps beside it."""
    await push(place, 0, *TAGS)
    await place.registry.cid_refresh.run_if_needed()
    await place.registry.stop()
    await place.start()
    copy = (place.directory / "cids.sqlite").read_bytes()
    await push(place, 0, Tag("later"))
    await place.registry.stop()
    (place.directory / "cids.sqlite").write_bytes(copy)
    await place.start()
    assert "later" in await place.registry.tags.pointing_to(APP, DIGESTS[0])


@pytest_twisted.ensureDeferred
async def test_it_never_knows_less_than_there_is(open_place: Open, tmp_path: Path) -> None:
    """Whatever is pushed, moved and deleted at the same time, while the tags are read, and over stops and kills."""
    for seed in range(examples(6, 60)):
        random = Random(seed)
        place = await open_place(tmp_path / str(seed))
        for _ in range(random.randrange(1, 4)):

            async def change(_: int, place: Place = place, random: Random = random) -> None:
                kind = random.randrange(5)
                try:
                    if kind == 0:
                        await place.registry.manifests.delete(APP, random.choice(DIGESTS))
                    elif kind == 1:
                        await place.registry.manifests.delete_tag(APP, random.choice(TAGS))
                    elif kind == 2:
                        await place.registry.tags.learn(APP, Throttle(place.clock))
                    else:
                        await push(place, random.randrange(4), *random.sample(TAGS, random.randrange(1, 4)))
                except ManifestUnknown:
                    pass

            await gather(change, range(20), 6)
            await check(place)
            if random.random() < 0.5:
                await place.registry.stop()
            await place.start()
        for digest in DIGESTS:
            with suppress(ManifestUnknown):
                await place.registry.manifests.delete(APP, digest)
        assert tags_on_disk(place) == {}


@pytest_twisted.ensureDeferred
async def test_a_tag_whose_writing_failed_is_not_listed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await push(place, 0, Tag("there"))
    await place.registry.cid_refresh.run_if_needed()
    real = place.bucket.put

    def full(path: str, content: bytes) -> object:
        if path.endswith("/lost"):
            raise Full("no room")
        return real(path, content)

    monkeypatch.setattr(place.bucket, "put", full)
    with pytest.raises(Full):
        await push(place, 1, Tag("lost"))
    await check(place)
    assert await place.registry.tags.in_order(APP) == ["there"]


@pytest_twisted.ensureDeferred
async def test_a_damaged_tag_is_listed_and_points_to_nothing(place: Place) -> None:
    await push(place, 0, Tag("whole"), Tag("damaged"))
    (place.files / layout.tag(APP, Tag("damaged"))).write_text("nothing of sense")
    await place.registry.cid_refresh.run_if_needed()
    assert await place.registry.tags.in_order(APP) == ["damaged", "whole"]
    await place.registry.tags.delete(APP, Tag("damaged"))
    assert await place.registry.tags.in_order(APP) == ["whole"]


@pytest.mark.parametrize("shared", [False, True])
@pytest_twisted.ensureDeferred
async def test_without_an_index_tags_are_read(place: Place, monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    """Where the disk refuses the file, or others write to the bucket."""
    await place.registry.stop()
    if not shared:
        (place.directory / "cids.sqlite").unlink()
        (place.directory / "cids.sqlite").mkdir()
    await place.start(shared=shared)
    await push(place, 0, *TAGS)
    await push(place, 1, Tag("other"))
    assert await place.registry.tags.in_order(APP, "a") == sorted([*TAGS[1:], Tag("other")], key=lexical)[1:]
    await place.registry.manifests.delete(APP, DIGESTS[0])
    assert list(tags_on_disk(place)) == ["other"]


@pytest_twisted.ensureDeferred
async def test_tags_that_cannot_be_read_do_not_keep_a_manifest(place: Place) -> None:
    await push(place, 0, *TAGS)
    (place.files / layout.tag(APP, Tag("a"))).write_text("damaged")
    await place.registry.manifests.delete(APP, DIGESTS[0])
    assert [each.name for each in (place.files / layout.tags_of(APP)).iterdir()] == ["a"]
    with pytest.raises(NotFound):
        await place.bucket.get(layout.manifest_record(APP, DIGESTS[0]), 4096)
