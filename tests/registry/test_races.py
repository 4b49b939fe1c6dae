"""Races that were lost once, or would be without what is written against them: each in the one order that matters.

An operation of the storage is held back (before its effect, or before anybody is told) while others go on.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import ManifestUnknown
from ipfsreg.registry.repository.manifests import StoredManifest
from tests.bucket.scheduled import Event
from tests.full import some
from tests.marks import full

from .clients import GRACE, UNTAGGED
from .encrypted_world import EncryptedKuboWorld, EncryptedWorld
from .known import BLOBS, IMAGES, INDEXES, MANIFESTS, REFERRERS, REPOSITORIES, TAGS, Known
from .simulation import World

pytestmark = pytest.mark.usefixtures("kept_dags")

A, BELOW = REPOSITORIES
T, U = TAGS
OLD, NEW = IMAGES[0], IMAGES[1]


@pytest.fixture(params=[World, EncryptedWorld, EncryptedKuboWorld])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return with_an_image(request.param, tmp_path)


@pytest.fixture(params=[World, EncryptedWorld, pytest.param(EncryptedKuboWorld, marks=full)])
def one_of_many(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """As `world`, for a test that takes many."""
    return with_an_image(request.param, tmp_path)


def with_an_image(kind: type[World], directory: Path) -> World:
    world = kind(directory)
    world.run([("first", partial(world.push, A, OLD, T))])
    return world


def all_but(world: World, label: str) -> Event:
    """Let everything happen but the one event with that label, which is answered."""
    scheduler = world.scheduler
    while others := [event for event in scheduler.pending if event.label != label]:
        scheduler.fire(others[0])
    (held,) = scheduler.pending
    return held


def test_a_tag_that_is_moved_while_its_manifest_is_deleted(world: World) -> None:
    """DELETE of the old manifest takes its tags along, but not one that somebody points elsewhere meanwhile."""
    world.run([("second", partial(world.push, A, NEW, None))])
    deleting = world.begin(partial(world.delete_manifest, A, OLD.digest))
    told = all_but(world, f"told of get {layout.tag(A, T)}")
    world.run_but(told, partial(world.push, A, NEW, T))
    world.scheduler.fire_all()
    assert deleting.called
    world.check()
    assert not world.problems
    assert world.bucket.files[layout.tag(A, T)].decode().strip() == str(NEW.digest)


def test_a_manifest_that_is_deleted_while_its_tag_is_moved(world: World) -> None:
    """The note that it lost its tag must not bring it back."""
    world.run([("second", partial(world.push, A, NEW, None))])
    moving = world.begin(partial(world.push, A, NEW, T))
    note = all_but(world, f"put {layout.manifest_record(A, OLD.digest)}")
    deleting = world.begin(partial(world.delete_manifest, A, OLD.digest))
    while others := [event for event in world.scheduler.pending if event is not note]:
        world.scheduler.fire(others[0])
    assert not deleting.called
    world.scheduler.fire_all()
    assert moving.called
    world.check()
    assert not world.problems
    assert layout.manifest_record(A, OLD.digest) not in world.bucket.files


def test_a_pull_by_a_tag_that_is_moved_meanwhile(world: World) -> None:
    """The tag is there all the time, so it is never answered that it is not."""
    world.run([("second", partial(world.push, A, NEW, None))])
    pulled: list[StoredManifest] = []

    async def pull() -> None:
        pulled.append(await world.registry.manifests.get(A, T))

    world.begin(pull)
    told = all_but(world, f"told of get {layout.tag(A, T)}")
    world.run_but(told, partial(world.push, A, NEW, T))
    world.run_but(told, partial(world.delete_manifest, A, OLD.digest))
    world.scheduler.fire_all()
    assert not world.problems
    assert [each.digest for each in pulled] == [NEW.digest]


def test_two_that_delete_the_same_tag(world: World) -> None:
    one = world.begin(partial(world.registry.manifests.delete_tag, A, T))
    removal = all_but(world, f"remove {layout.tag(A, T)}")
    other = world.begin(partial(world.delete_tag, A, T))
    while others := [event for event in world.scheduler.pending if event is not removal]:
        world.scheduler.fire(others[0])
    world.scheduler.fire_all()
    assert one.called
    assert other.called
    assert [each.kind for each in world.operations] == ["add blob", "put"]  # the second one was told that there is none


def test_a_repository_that_gets_a_manifest_as_it_loses_its_last_one(world: World) -> None:
    """The look whether it is empty may be older than the push."""
    world.run([("catalog", world.list_catalog)])
    world.begin(partial(world.delete_manifest, A, OLD.digest))
    told = all_but(world, f"told of list {layout.REPOSITORIES}/{A}/_manifests")
    world.run_but(told, partial(world.push, A, NEW, T))
    world.scheduler.fire_all()
    world.check()
    assert not world.problems
    assert world.catalog == [A]


def test_a_blob_that_is_mounted_while_the_collector_looks_at_it(world: World) -> None:
    world.run([("away", partial(world.delete_tag, A, T))])
    world.clock.advance(GRACE + UNTAGGED + 1)
    collecting = world.begin(world.collect)
    removal = all_but(world, f"remove {layout.blob(digest_of(BLOBS[0]))}")
    mounting = world.begin(partial(world.ensure_blob, BELOW, BLOBS[0], "mount"))
    while others := [event for event in world.scheduler.pending if event is not removal]:
        world.scheduler.fire(others[0])
    assert not mounting.called  # it waits, and then finds nothing
    world.scheduler.fire_all()
    assert collecting.called
    assert mounting.called
    assert world.bucket.files[layout.blob(digest_of(BLOBS[0]))] == BLOBS[0]


@pytest.mark.parametrize("how", ["mount", "upload"])
def test_content_between_its_storing_and_its_link(world: World, how: str) -> None:
    """Nothing links to it yet, and all the same it must stay."""
    world.run([("away", partial(world.delete_tag, A, T))])
    world.clock.advance(GRACE + UNTAGGED + 1)
    if how == "mount":
        giving = world.begin(partial(world.ensure_blob, BELOW, BLOBS[0], "mount"))
    else:
        world.run([("collect", world.collect)])
        assert layout.blob(digest_of(BLOBS[0])) not in world.bucket.files
        world.bucket.spool[Path("source")] = BLOBS[0]
        add = world.registry.blobs.add_file
        giving = world.begin(partial(add, BELOW, digest_of(BLOBS[0]), Path("source"), len(BLOBS[0]), b""))
    link = all_but(world, f"put {layout.blob_link(BELOW, digest_of(BLOBS[0]))}")
    world.run_but(link, partial(world.collect, 0.0))
    assert layout.blob(digest_of(BLOBS[0])) in world.bucket.files
    world.scheduler.fire_all()
    assert giving.called
    world.told[:] = [each for each in world.told if each.repository == BELOW]
    world.check()
    assert not world.problems


@pytest.fixture
def garbage(world: World) -> World:
    """A world whose image and its blob nobody needs any more, and nobody has used for long."""
    world.run([("away", partial(world.delete_tag, A, T))])
    world.clock.advance(GRACE + UNTAGGED + 1)
    world.told.clear()
    return world


LINK = layout.blob_link(A, digest_of(BLOBS[0]))
RECORD = layout.manifest_record(A, OLD.digest)


@pytest.mark.parametrize(("pushed", "path"), [(IMAGES[2], LINK), (INDEXES[0], RECORD)])
def test_a_push_that_names_what_is_being_taken(garbage: World, pushed: Known, path: str) -> None:
    """It waits until that is gone, so it is not told that all is well."""
    garbage.run([("layer", partial(garbage.ensure_blob, A, BLOBS[1]))])
    garbage.begin(partial(garbage.collect, 0.0))
    removal = all_but(garbage, f"remove {path}")
    pushing = garbage.begin(partial(garbage.push, A, pushed, T, "blind"))
    while others := [event for event in garbage.scheduler.pending if event is not removal]:
        garbage.scheduler.fire(others[0])
    assert not pushing.called
    garbage.scheduler.fire_all()
    garbage.check()
    assert not garbage.problems
    assert (layout.manifest_record(A, pushed.digest) in garbage.bucket.files) == (pushed is INDEXES[0])


@pytest.mark.parametrize(("pushed", "path"), [(IMAGES[2], LINK), (INDEXES[0], RECORD)])
def test_a_push_that_names_what_would_be_taken(garbage: World, pushed: Known, path: str) -> None:
    """It has looked, and is not done yet: what it names stays."""
    garbage.run([("layer", partial(garbage.ensure_blob, A, BLOBS[1]))])
    garbage.begin(partial(garbage.push, A, pushed, T, "blind"))
    record = all_but(garbage, f"put {layout.manifest_record(A, pushed.digest)}")
    garbage.run_but(record, partial(garbage.collect, 0.0))
    assert path in garbage.bucket.files
    garbage.scheduler.fire_all()
    garbage.check()
    assert not garbage.problems


def test_a_subject_that_is_pushed_while_the_collector_looks(garbage: World) -> None:
    """What refers to it is needed from then on."""
    referrer, subject = REFERRERS[1], REFERRERS[0]
    garbage.run([("referrer", partial(garbage.push, A, referrer, None))])
    garbage.clock.advance(GRACE + UNTAGGED + 1)
    garbage.begin(garbage.collect)
    told = all_but(garbage, f"told of list {layout.tags_of(A)}")
    garbage.run_but(told, partial(garbage.push, A, subject, T))
    garbage.scheduler.fire_all()
    assert not garbage.problems
    assert layout.manifest_record(A, referrer.digest) in garbage.bucket.files


def test_many_pushes_of_the_same_blob_are_one_transfer(world: World) -> None:
    blob = b"pushed by many at once"
    for number in range(8):
        source = Path(f"source {number}")
        world.bucket.spool[source] = blob
        world.begin(
            partial(world.registry.blobs.add_file, REPOSITORIES[number % 2], digest_of(blob), source, len(blob), b"")
        )
    world.scheduler.fire_all()
    assert [event.label.split()[0] for event in world.scheduler.log].count(
        "put_file"
    ) == 2  # the first image's, and one
    assert world.bucket.files[layout.blob(digest_of(blob))] == blob
    assert len(world.bucket.spool) == 7


def test_a_turn_that_is_given_up(world: World) -> None:
    """Who waits for the same content and is cancelled does not keep those behind it waiting for ever."""
    blob = b"wanted by three"
    waiting = []
    for number in range(3):
        source = Path(f"source {number}")
        world.bucket.spool[source] = blob
        add = partial(world.registry.blobs.add_file, A, digest_of(blob), source, len(blob), b"")
        waiting.append(world.begin(add))
    waiting[1].cancel()
    world.scheduler.fire_all()
    assert all(each.called for each in waiting)
    world.run([("again", partial(world.ensure_blob, A, blob))])
    assert not world.problems


def test_a_manifest_that_is_missing_is_missing(world: World) -> None:
    async def look() -> None:
        for reference in (U, MANIFESTS[4].digest):
            with pytest.raises(ManifestUnknown):
                await world.registry.manifests.get(A, reference)

    world.run([("look", look)])
    assert not world.problems


@pytest.mark.parametrize("effective", [True, False])
@pytest.mark.parametrize("step", some(4, range(12)))
@pytest.mark.parametrize("change", ["push", "delete", "collect"])
def test_a_manifest_that_is_there_is_listed_by_its_subject(
    one_of_many: World, change: str, step: int, effective: bool
) -> None:
    """Whichever step of a change fails (or was the last one before a kill): a client that finds it need not push it."""
    world = one_of_many
    referrer = REFERRERS[0]
    if change != "push":
        world.run([("push", partial(world.push, A, referrer, None))])
    world.clock.advance(GRACE + UNTAGGED + 1)
    if change == "collect":
        world.run([("away", partial(world.delete_tag, A, T))])
        world.clock.advance(GRACE + 1)
    left = [step]

    def fail(label: str) -> tuple[BucketError, bool] | None:
        if not label.startswith(("put", "remove")):
            return None
        left[0] -= 1
        return (Unavailable("gone"), effective) if left[0] < 0 else None

    world.bucket.fail = fail
    world.failing = True
    programs: dict[str, Callable[[], Any]] = {
        "push": partial(world.push, A, referrer, None),
        "delete": partial(world.delete_manifest, A, referrer.digest),
        "collect": world.collect,
    }
    world.run([(change, programs[change])])
    world.bucket.fail = lambda label: None
    assert not world.problems
    there = layout.manifest_record(A, referrer.digest) in world.bucket.files
    assert not there or layout.referrer(A, OLD.digest, referrer.digest) in world.bucket.files
