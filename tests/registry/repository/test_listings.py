"""The catalog, tags and referrers."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import hypothesis.strategies as st
import pytest
import pytest_twisted
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, rule
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel

from ipfsreg.bucket.errors import NotFound, Unavailable
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of, parse_digest
from ipfsreg.registry.errors import ManifestUnknown, NameUnknown
from ipfsreg.registry.manifest import OCI_IMAGE
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository import referrers
from ipfsreg.registry.repository.catalog import CATALOG_BELIEVED_SECONDS, Catalog
from ipfsreg.registry.repository.to_learn import EVERY
from tests.bucket.scheduled import ScheduledBucket, Scheduler
from tests.full import examples
from tests.registry.place import Place, image

Open = Callable[..., Awaitable[Place]]

APP = Repository("app")
NAMES = ["a", "a/b", "c"]


@pytest_twisted.ensureDeferred
async def test_the_catalog(place: Place) -> None:
    """Those with a manifest, tagged or not; not those with blobs alone."""
    catalog, manifests = place.registry.catalog, place.registry.manifests
    for name in ("b", "a/b", "a", "a-b", "a.b/c"):
        await place.push_image(Repository(name), ["t"] if name == "b" else [], b"config")
    await place.push_blob(Repository("only/a/blob"), b"blob")
    assert await catalog.after("") == ["a", "a-b", "a.b/c", "a/b", "b"]
    assert await catalog.after("a-b") == ["a.b/c", "a/b", "b"]
    assert await catalog.after("a-c") == ["a.b/c", "a/b", "b"]
    assert await catalog.after("b") == []
    await manifests.delete(Repository("a"), digest_of(image(b"config")))
    await place.push_image(Repository("c"), [], b"config")
    assert await catalog.after("a") == ["a-b", "a.b/c", "a/b", "b", "c"]
    await place.restart()
    assert await place.registry.catalog.after("a") == ["a-b", "a.b/c", "a/b", "b", "c"]


class CatalogBesideChanges(RuleBasedStateMachine):
    """Whatever happens at once, the next listing is right, and each one that was asked for comes."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler()
        self.bucket = ScheduledBucket(self.scheduler)
        self.catalog = Catalog(self.bucket, Clock())
        self.lists: list[list[list[Repository]]] = []
        self.changing: set[str] = set()

    def _path(self, name: str, number: int) -> str:
        return layout.manifest_record(Repository(name), digest_of(b"%d" % number))

    def _alone(self, name: str, number: int, change: Callable[[str], Awaitable[None]]) -> None:
        """The guard never lets a manifest be pushed and removed at once."""
        path = self._path(name, number)

        async def alone() -> None:
            self.changing.add(path)
            try:
                await change(path)
            except NotFound:
                pass
            finally:
                self.changing.remove(path)

        if path not in self.changing:
            Deferred.fromCoroutine(alone())

    @rule(name=st.sampled_from(NAMES), number=st.integers(1, 2))
    def push(self, name: str, number: int) -> None:
        async def push(path: str) -> None:
            await self.bucket.put(path, b"")
            self.catalog.added(Repository(name))

        self._alone(name, number, push)

    @rule(name=st.sampled_from(NAMES), number=st.integers(1, 2))
    def delete(self, name: str, number: int) -> None:
        async def delete(path: str) -> None:
            await self.bucket.remove(path)
            await self.catalog.removed_from(Repository(name))

        self._alone(name, number, delete)

    @rule()
    def ask(self) -> None:
        result: list[list[Repository]] = []
        self.lists.append(result)
        Deferred.fromCoroutine(self.catalog.after("")).addCallback(result.append)

    @rule()
    def doubt(self) -> None:
        self.catalog.doubted()

    @rule(indexes=st.lists(st.integers(0, 5), min_size=1, max_size=4))
    def something_happens(self, indexes: list[int]) -> None:
        for index in indexes:
            if self.scheduler.pending:
                self.scheduler.fire(self.scheduler.pending[index % len(self.scheduler.pending)])

    def teardown(self) -> None:
        self.scheduler.fire_all()
        self.ask()
        self.scheduler.fire_all()
        there = [name for name in NAMES if any(self._path(name, number) in self.bucket.files for number in (1, 2))]
        assert self.lists[-1] == [there]
        for result in self.lists:
            assert len(result) == 1
            assert result[0] == sorted(result[0])


TestCatalogBesideChanges = CatalogBesideChanges.TestCase
TestCatalogBesideChanges.settings = settings(max_examples=examples(20, 150), stateful_step_count=25, deadline=None)


def test_one_listing_for_all_who_ask_at_once() -> None:
    scheduler = Scheduler()
    bucket = ScheduledBucket(scheduler)
    bucket.files[layout.manifest_record(APP, digest_of(b""))] = b""
    catalog = Catalog(bucket, Clock())
    asked = [Deferred.fromCoroutine(catalog.after("")) for _ in range(5)]
    scheduler.fire_all()
    assert [each.result for each in asked] == [["app"]] * 5
    assert [event.label for event in scheduler.log].count("list repositories") == 1


def test_a_listing_that_fails_fails_for_all_and_the_next_one_is_made() -> None:
    scheduler = Scheduler()
    bucket = ScheduledBucket(scheduler)
    bucket.files[layout.manifest_record(APP, digest_of(b""))] = b""
    catalog = Catalog(bucket, Clock())
    bucket.fail = lambda label: (Unavailable("gone"), False)
    failures: list[object] = []
    for _ in range(3):
        Deferred.fromCoroutine(catalog.after("")).addErrback(lambda failure: failures.append(failure.type))
    scheduler.fire_all()
    assert failures == [Unavailable] * 3
    bucket.fail = lambda label: None
    again = Deferred.fromCoroutine(catalog.after(""))
    scheduler.fire_all()
    assert again.result == ["app"]


def test_a_catalog_that_others_change_is_believed_for_a_moment() -> None:
    scheduler, clock = Scheduler(), Clock()
    bucket = ScheduledBucket(scheduler)
    bucket.shared = True
    catalog = Catalog(bucket, clock)

    def names() -> Any:
        asked = Deferred.fromCoroutine(catalog.after(""))
        scheduler.fire_all()
        return asked.result

    assert names() == []
    bucket.files[layout.manifest_record(APP, digest_of(b""))] = b""  # by another daemon
    clock.advance(CATALOG_BELIEVED_SECONDS)
    assert names() == []
    clock.advance(0.1)
    assert names() == ["app"]


@pytest_twisted.ensureDeferred
async def test_tags(place: Place) -> None:
    tags, manifests = place.registry.tags, place.registry.manifests
    with pytest.raises(NameUnknown):
        await tags.in_order(APP)
    manifest = await place.push_image(APP, [], b"config")
    assert list(await tags.in_order(APP)) == []  # it has a manifest without a tag
    await place.push_image(APP, ["b", "a", "B", "_", "1.0"], b"config")
    assert list(await tags.in_order(APP)) == ["1.0", "_", "a", "B", "b"]  # case counts last
    await manifests.delete_tag(APP, Tag("B"))
    assert list(await tags.in_order(APP)) == ["1.0", "_", "a", "b"]
    with pytest.raises(ManifestUnknown):
        await manifests.delete_tag(APP, Tag("B"))
    other = await place.push_image(APP, ["a"], b"config", b"layer")
    await manifests.delete(APP, digest_of(manifest))
    assert list(await tags.in_order(APP)) == ["a"]
    assert (await manifests.get(APP, Tag("a"))).content == other
    await manifests.delete(APP, digest_of(other))
    assert list(await tags.in_order(APP)) == []  # its blobs are there


async def all_pages(place: Place, subject: bytes, kind: str | None = None) -> list[list[dict[str, Any]]]:
    pages, last = [], None
    while True:
        page, last = await place.registry.referrers.list(APP, digest_of(subject), kind, last)
        pages.append(page)
        if last is None:
            return pages


@pytest_twisted.ensureDeferred
async def test_referrers(place: Place) -> None:
    subject = await place.push_image(APP, ["t"], b"config")
    signed = {"annotations": {"by": "somebody"}, "artifactType": "application/x-signature"}
    signature = await place.push_image(APP, [], b"config", b"1", subject=subject, **signed)
    listing = await place.push_image(APP, [], b"config", b"2", subject=subject)
    (page,) = await all_pages(place, subject)
    assert sorted(page, key=lambda each: each["size"]) == [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": str(digest_of(listing)),
            "size": len(listing),
            # Without an artifactType of its own it is that of its config (distribution-spec, "Listing Referrers").
            "artifactType": "application/vnd.oci.image.config.v1+json",
        },
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": str(digest_of(signature)),
            "size": len(signature),
            **signed,
        },
    ]
    (page,) = await all_pages(place, subject, "application/x-signature")
    assert [each["digest"] for each in page] == [str(digest_of(signature))]
    assert await all_pages(place, subject, "application/x-none") == [[]]
    assert await all_pages(place, b"never pushed") == [[]]
    await place.registry.manifests.delete(APP, digest_of(signature))
    (page,) = await all_pages(place, subject)
    assert [each["digest"] for each in page] == [str(digest_of(listing))]


@pytest_twisted.ensureDeferred
async def test_referrers_in_pages(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page is bounded, none is left out, none comes twice, and those of another kind do not end a page."""
    subject, config = image(b"config"), await place.push_blob(APP, b"config")
    assert config
    notes = {"annotations": {"note": "x" * 1000}}

    async def push(number: int) -> bytes:
        kind = "application/x-rare" if number % 10 == 0 else "application/x-common"
        return await place.push_image(APP, [], b"config", subject=subject, artifactType=kind, number=number, **notes)

    pushed = [
        str(digest_of(manifest))
        for manifest in await gatherResults([Deferred.fromCoroutine(push(n)) for n in range(40)])
    ]
    monkeypatch.setattr(referrers, "DESCRIPTORS_PAGE", 10_000)
    pages = await all_pages(place, subject)
    assert [each["digest"] for page in pages for each in page] == sorted(pushed)
    assert len(pages) > 4
    assert all(len(json.dumps(page)) < 10_000 + 2_000 for page in pages)
    rare = await all_pages(place, subject, "application/x-rare")
    assert sorted(each["digest"] for page in rare for each in page) == sorted(pushed[::10])
    # A page goes on behind the last one though that was deleted meanwhile.
    first, last = await place.registry.referrers.list(APP, digest_of(subject))
    assert last is not None
    await place.registry.manifests.delete(APP, last)
    rest: list[dict[str, Any]] = []
    while last is not None:
        page, last = await place.registry.referrers.list(APP, digest_of(subject), None, last)
        rest += page
    assert [each["digest"] for each in first + rest] == sorted(pushed)


@pytest_twisted.ensureDeferred
async def test_the_index_has_the_same_referrers(open_place: Open, tmp_path: Path) -> None:
    """Whatever is pushed, deleted, stopped, killed or looked at in between: a listing and the index say the same."""
    kinds = ["application/x-a", "application/x-b", "é", "x" * 3000, ""]
    for seed in range(examples(4, 40)):
        random = Random(seed)
        place = await open_place(tmp_path / str(seed))
        subject = await place.push_image(APP, ["t"], b"config")
        there: dict[str, str] = {}
        for number in range(40):
            what = random.randrange(10)
            if what == 0:
                await place.registry.cid_refresh.run_if_needed()
                await place.registry.stop()
                await place.start()
            elif what == 1:
                await place.restart()
                if random.random() < 0.5:
                    await place.registry.cid_refresh.run_if_needed()
            elif what == 2 and there:
                gone = random.choice(sorted(there))
                await place.registry.manifests.delete(APP, parse_digest(gone))
                del there[gone]
            else:
                kind = random.choice(kinds)
                more = {"artifactType": kind} if kind else {}
                manifest = await place.push_image(APP, [], b"config", subject=subject, number=number, **more)
                there[str(digest_of(manifest))] = kind or "application/vnd.oci.image.config.v1+json"
        for wanted in (None, *kinds[:4], "application/vnd.oci.image.config.v1+json"):
            listed = [each["digest"] for page in await all_pages(place, subject, wanted) for each in page]
            assert listed == sorted(digest for digest, kind in there.items() if wanted in (None, kind))


@pytest_twisted.ensureDeferred
async def test_a_repository_that_grew_since_the_start_is_not_listed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for the first page nor for the next ones, though no pass went by."""
    subject = await place.push_image(APP, [f"t{number:03}" for number in range(EVERY)], b"config")
    digests = [
        str(digest_of(await place.push_image(APP, [], b"config", subject=subject, number=number)))
        for number in range(EVERY)
    ]
    await place.registry.cid_refresh.learn()
    await place.push_image(APP, ["later"], b"config")

    def refuse(directory: str) -> object:
        raise AssertionError(f"{directory} is listed")

    monkeypatch.setattr(place.bucket, "list", refuse)
    first = await place.registry.tags.in_order(APP, most=60)
    assert await place.registry.tags.in_order(APP, first[-1]) == [f"t{number:03}" for number in range(59, EVERY)]
    assert [each["digest"] for page in await all_pages(place, subject) for each in page] == sorted(digests)


@pytest_twisted.ensureDeferred
async def test_tags_that_had_to_be_listed_are_learned(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.push_image(APP, [f"t{number:03}" for number in range(EVERY + 1)], b"config")
    await place.restart()  # as after a kill
    listed: list[str] = []
    real = place.bucket.list

    def counted(directory: str) -> object:
        listed.append(directory)
        return real(directory)

    monkeypatch.setattr(place.bucket, "list", counted)
    for _ in range(2):
        assert len(await place.registry.tags.in_order(APP)) == EVERY + 1
        await place.registry.cid_refresh.learn()
    assert listed == [layout.tags_of(APP)]


@pytest_twisted.ensureDeferred
async def test_known_referrers_are_not_looked_for_in_their_directory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = await place.push_image(APP, ["t"], b"config")
    digests = [
        str(digest_of(await place.push_image(APP, [], b"config", subject=subject, number=number)))
        for number in range(EVERY)
    ]
    assert [each["digest"] for page in await all_pages(place, subject) for each in page] == sorted(digests)
    await place.registry.cid_refresh.learn()

    def refuse(directory: str) -> object:
        raise AssertionError(f"{directory} is listed")

    monkeypatch.setattr(place.bucket, "list", refuse)
    assert [each["digest"] for page in await all_pages(place, subject) for each in page] == sorted(digests)
    assert await all_pages(place, subject, "application/x-none") == [[]]


@pytest_twisted.ensureDeferred
async def test_what_a_crash_left_is_not_listed(place: Place) -> None:
    subject = await place.push_image(APP, ["t"], b"config")
    entry: Path = place.files / layout.referrer(APP, digest_of(subject), digest_of(b"never pushed"))
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b'{"digest": "?"}')
    assert await all_pages(place, subject) == [[]]


@pytest.mark.parametrize("entry", [b"[]", b'{"mediaType": "', b"{}", b"\xff"])
@pytest_twisted.ensureDeferred
async def test_a_damaged_entry_is_made_again_from_its_manifest(place: Place, log: list[LogEvent], entry: bytes) -> None:
    subject = await place.push_image(APP, ["t"], b"config")
    first = await place.push_image(APP, [], b"config", b"1", subject=subject, annotations={"by": "somebody"})
    await place.push_image(APP, [], b"config", b"2", subject=subject)
    whole = await all_pages(place, subject)
    file = place.files / layout.referrer(APP, digest_of(subject), digest_of(first))
    content = file.read_bytes()
    file.write_bytes(entry)
    await place.restart()
    assert await all_pages(place, subject) == whole
    assert file.read_bytes() == content
    assert len([event for event in log if event.get("log_level") == LogLevel.error]) == 1


@pytest.mark.parametrize("what", ["record", "content"])
@pytest_twisted.ensureDeferred
async def test_a_damaged_entry_of_a_damaged_manifest_hides_no_other(place: Place, what: str) -> None:
    subject = await place.push_image(APP, ["t"], b"config")
    first = await place.push_image(APP, [], b"config", b"1", subject=subject)
    second = await place.push_image(APP, [], b"config", b"2", subject=subject)
    (place.files / layout.referrer(APP, digest_of(subject), digest_of(first))).write_bytes(b"{")
    path = layout.manifest_record(APP, digest_of(first)) if what == "record" else layout.blob(digest_of(first))
    (place.files / path).write_bytes(b"{")
    await place.restart()
    (page,) = await all_pages(place, subject)
    assert [each["digest"] for each in page] == [str(digest_of(second))]


@pytest.mark.parametrize("longest", [4 * 1024**2, 8 * 1024**2])
@pytest_twisted.ensureDeferred
async def test_a_manifest_as_long_as_it_may_be_can_be_listed(open_place: Open, longest: int) -> None:
    """Its annotations are in its descriptor, and are no longer there than in the manifest."""
    place = await open_place(max_manifest_size=longest)
    subject = await place.push_image(APP, ["t"], b"config")
    left = longest - len(image(b"config", subject=subject, annotations={"a": ""}))
    text = "é" * (left // 2 - 10)
    manifest = json.dumps(
        json.loads(image(b"config", subject=subject)) | {"annotations": {"a": text}}, ensure_ascii=False
    ).encode()
    assert longest - 1000 < len(manifest) <= longest
    await place.registry.manifests.put(APP, manifest, OCI_IMAGE, None, [])
    (page,) = await all_pages(place, subject)
    assert page[0]["annotations"] == {"a": text}
