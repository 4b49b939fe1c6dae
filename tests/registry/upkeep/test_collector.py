"""The collector beside clients, in every order of events that Hypothesis cares to try."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, note, settings

from ipfsreg.bucket.errors import Full, Unavailable
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.names import Tag
from tests.full import examples
from tests.registry.clients import GRACE, UNTAGGED
from tests.registry.encrypted_world import EncryptedKuboWorld, EncryptedWorld
from tests.registry.known import BLOBS, IMAGES, INDEXES, MANIFESTS, REFERRERS, REPOSITORIES, TAGS, Known
from tests.registry.simulation import World

pytestmark = pytest.mark.usefixtures("kept_dags")

Step = tuple[Any, ...]

A, BELOW = REPOSITORIES
T = TAGS[0]


@dataclass(frozen=True)
class Pick:
    """One of the few things of a kind that a scenario is about."""

    kind: str
    number: int

    def of(self, chosen: dict[str, Sequence[Any]]) -> Any:
        things = chosen[self.kind]
        return things[self.number % len(things)]


# Made once: Hypothesis takes longer to look at strategies that are made anew for each example than to run it.
REPOSITORY, TAG, MANIFEST, DIGEST = (
    st.integers(0, 5).map(partial(Pick, kind)) for kind in ("repository", "tag", "manifest", "digest")
)
PUSH = st.tuples(
    st.just("push"),
    REPOSITORY,
    MANIFEST,
    st.one_of(TAG, TAG, st.none()),
    st.sampled_from(["head", "blind", "mount", "a"]),
)
BEFORE = st.one_of(
    PUSH,
    PUSH,
    st.tuples(st.just("delete_tag"), REPOSITORY, TAG),
    st.tuples(st.just("list_catalog")),
)
NOW = st.one_of(
    PUSH,
    PUSH,
    PUSH,
    st.tuples(st.just("slow_push"), REPOSITORY, MANIFEST, TAG),
    st.tuples(st.just("pull"), REPOSITORY, TAG),
    st.tuples(st.just("ensure_blob"), REPOSITORY, st.sampled_from(BLOBS)),
    st.tuples(st.just("ensure_manifest"), REPOSITORY, MANIFEST),
    st.tuples(st.just("delete_tag"), REPOSITORY, TAG),
    st.tuples(st.just("delete_manifest"), REPOSITORY, DIGEST),
    st.tuples(st.just("delete_manifest"), REPOSITORY, DIGEST),
    st.tuples(st.just("delete_blob"), REPOSITORY, st.sampled_from([digest_of(blob) for blob in BLOBS])),
    st.tuples(st.just("list_catalog")),
    st.tuples(st.just("collect"), st.sampled_from([0.0, None]), st.booleans()),
)
SEVERAL_BEFORE = st.lists(BEFORE, max_size=3)
SEVERAL_CLIENTS = st.lists(st.lists(NOW, min_size=1, max_size=2), min_size=1, max_size=3)
SOME_REPOSITORIES = st.sampled_from([[A], [A], REPOSITORIES])
SOME_TAGS = st.sampled_from([[T], [T], TAGS])
SOME_MANIFESTS = st.lists(st.sampled_from(MANIFESTS), min_size=1, max_size=3, unique=True)


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[list[Step], list[list[Step]]]:
    """What was done long ago, one after the other, and what clients do now, side by side.

    Few things at a time, so that most of what happens is about the same ones.
    """
    manifests = draw(SOME_MANIFESTS)
    chosen: dict[str, Sequence[Any]] = {
        "repository": draw(SOME_REPOSITORIES),
        "tag": draw(SOME_TAGS),
        "manifest": manifests,
        "digest": [each.digest for each in manifests],
    }

    def picked(step: Step) -> Step:
        return tuple(part.of(chosen) if isinstance(part, Pick) else part for part in step)

    clients = [[picked(step) for step in steps] for steps in draw(SEVERAL_CLIENTS)]
    return [picked(step) for step in draw(SEVERAL_BEFORE)], clients


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def program(world: World, steps: list[Step]) -> tuple[str, Callable[[], Any]]:
    async def run() -> None:
        for name, *arguments in steps:
            await getattr(world, name)(*arguments)

    return "+".join(step[0] for step in steps), run


def play(world: World, before: list[Step], clients: list[list[Step]], odds: float, *, collect: bool = True) -> None:
    world.run([program(world, [step]) for step in before], in_order=True)
    world.clock.advance(GRACE + UNTAGGED + 1)  # from now on it is garbage unless it is tagged
    world.told.clear()
    world.fail_now_and_then(odds)
    programs = [program(world, steps) for steps in clients]
    if collect:
        programs.append(("collect", world.collect))
    world.run(programs)
    world.fail_now_and_then(0)
    world.check()
    note("\n".join(map(repr, world.scheduler.log)))
    assert not world.problems
    world.check_quiet()
    assert not world.problems


@settings(max_examples=examples(50, 400), deadline=None)
@given(scenario=scenarios(), seed=st.integers(0, 2**32), cached=st.booleans())
def test_nothing_that_anybody_relies_on_is_taken(
    directory: Path, scenario: tuple[list[Step], list[list[Step]]], seed: int, cached: bool
) -> None:
    """See `World.check` and `World.check_quiet` for what is asked.

    Time stands still while the clients and the collectors run, so all of it is within any grace period.
    """
    play(World(directory, seed, 100_000 if cached else 0), *scenario, odds=0)


@settings(max_examples=examples(10, 100), deadline=None)
@given(scenario=scenarios(), seed=st.integers(0, 2**32), odds=st.sampled_from([0, 0.03]))
def test_nor_where_the_bucket_is_encrypted(
    directory: Path, scenario: tuple[list[Step], list[list[Step]]], seed: int, odds: float
) -> None:
    """The encryption has steps and locks of its own between the registry and its storage."""
    play(EncryptedWorld(directory, seed), *scenario, odds=odds)


@settings(max_examples=examples(4, 60), deadline=None)
@given(scenario=scenarios(), seed=st.integers(0, 2**32), odds=st.sampled_from([0, 0.03]))
def test_nor_where_it_is_encrypted_on_a_node(
    directory: Path, scenario: tuple[list[Step], list[list[Step]]], seed: int, odds: float
) -> None:
    """The node collects its own garbage meanwhile, and takes none of what counts."""
    before, clients = scenario
    play(EncryptedKuboWorld(directory, seed), before, [*clients, [("collect_blocks",)]], odds=odds)


@settings(max_examples=examples(20, 150), deadline=None)
@given(scenario=scenarios(), seed=st.integers(0, 2**32))
def test_nor_where_the_storage_fails_now_and_then(
    directory: Path, scenario: tuple[list[Step], list[list[Step]]], seed: int
) -> None:
    """Each operation may fail, with or without its effect: what was acknowledged holds all the same."""
    play(World(directory, seed), *scenario, odds=0.03)


@pytest.fixture
def world(directory: Path) -> World:
    return World(directory)


def run(world: World, *steps: Step) -> None:
    world.run([program(world, list(steps))])
    assert not world.problems


def holds(world: World, manifest: Known) -> bool:
    return layout.manifest_record(A, manifest.digest) in world.bucket.files


def test_the_grace_period(world: World) -> None:
    """What was used is kept for as long as that says, and a run without one takes it."""
    run(world, ("push", A, IMAGES[0], T, "head"), ("delete_tag", A, T))
    world.clock.advance(GRACE - 1)
    run(world, ("collect",))
    assert holds(world, IMAGES[0])
    assert world.collections[-1].used == 1
    run(world, ("collect", 0.0))
    assert not holds(world, IMAGES[0])
    assert (world.collections[-1].manifests, world.collections[-1].contents) == (1, 2)


def test_a_run_may_have_another_time_for_the_untagged(world: World) -> None:
    run(world, ("push", A, IMAGES[0], T, "head"), ("push", A, IMAGES[1], T, "head"))
    world.clock.advance(GRACE + 1)
    run(world, ("collect",))
    assert holds(world, IMAGES[0])
    assert (world.collections[-1].untagged, world.collections[-1].used) == (1, 0)

    async def collect(untagged: float) -> None:
        world.collections.append(await world.registry.collector.run(untagged=untagged))

    world.run([("collect", lambda: collect(GRACE + 2))])
    assert holds(world, IMAGES[0])
    world.run([("collect", lambda: collect(GRACE))])
    assert not holds(world, IMAGES[0])
    assert holds(world, IMAGES[1])
    assert world.collections[-1].untagged == 0


def test_a_time_in_the_future_counts_as_now(world: World) -> None:
    """The clock was a year ahead when the manifest was pushed: it is kept as others are, and no longer."""
    run(world, ("push", A, IMAGES[0], T, "head"))
    path = layout.manifest_record(A, IMAGES[0].digest)
    run(world, ("push", A, IMAGES[1], T, "head"))
    record = json.loads(world.bucket.files[path])
    world.bucket.files[path] = json.dumps(record | {"released": record["released"] + 365 * 86400}).encode()
    world.clock.advance(GRACE + 1)
    run(world, ("collect",))
    world.clock.advance(UNTAGGED - 1)
    run(world, ("collect",))
    assert holds(world, IMAGES[0])
    world.clock.advance(2)
    run(world, ("collect",))
    assert not holds(world, IMAGES[0])
    assert holds(world, IMAGES[1])


def test_how_long_the_untagged_are_kept(world: World) -> None:
    run(world, ("push", A, IMAGES[0], T, "head"), ("push", A, IMAGES[1], T, "head"))
    world.clock.advance(UNTAGGED - 1)
    run(world, ("collect",))
    assert holds(world, IMAGES[0])
    world.clock.advance(2)
    run(world, ("collect",))
    assert not holds(world, IMAGES[0])
    assert holds(world, IMAGES[1])


def test_an_index_keeps_what_it_lists_and_an_image_what_refers_to_it(world: World) -> None:
    run(world, ("push", A, INDEXES[1], T, "head"), ("push", A, REFERRERS[0], None, "head"))
    run(world, ("push", A, REFERRERS[1], None, "head"))
    world.clock.advance(UNTAGGED + GRACE + 1)
    run(world, ("collect",))
    chain = [INDEXES[1], INDEXES[0], IMAGES[0], IMAGES[1], REFERRERS[0], REFERRERS[1]]
    assert all(holds(world, each) for each in chain)
    run(world, ("delete_tag", A, T))
    world.clock.advance(GRACE + 1)
    run(world, ("collect",))  # one run takes the whole chain
    assert not any(holds(world, each) for each in chain)
    assert set(world.bucket.files) == {layout.VERSION_FILE}


def test_manifests_that_only_keep_each_other_go(world: World) -> None:
    run(world, ("push", A, REFERRERS[2], T, "head"))
    world.clock.advance(UNTAGGED + GRACE + 1)
    run(world, ("collect",))
    assert holds(world, REFERRERS[2])
    assert holds(world, IMAGES[0])
    run(world, ("delete_tag", A, T))
    world.clock.advance(GRACE + 1)
    run(world, ("ensure_manifest", A, IMAGES[0]))
    run(world, ("collect",))  # one of the two was used just now: both stay
    assert holds(world, REFERRERS[2])
    world.clock.advance(GRACE + UNTAGGED + 1)
    run(world, ("collect",))
    assert set(world.bucket.files) == {layout.VERSION_FILE}


@pytest.mark.parametrize("what", ["content", "record", "tag"])
def test_nothing_is_taken_where_something_is_damaged(world: World, what: str) -> None:
    """Nobody knows what it refers to. The other repositories are looked at all the same."""
    run(world, ("push", A, IMAGES[2], T, "head"), ("push", A, IMAGES[0], None, "head"))
    run(world, ("push", BELOW, IMAGES[0], None, "head"))
    path = {
        "content": layout.blob(IMAGES[2].digest),
        "record": layout.manifest_record(A, IMAGES[2].digest),
        "tag": layout.tag(A, T),
    }[what]
    world.bucket.files[path] = b"x" * len(world.bucket.files[path])
    world.clock.advance(UNTAGGED + GRACE + 1)
    run(world, ("collect",))
    assert holds(world, IMAGES[0])
    assert not [each for each in world.bucket.files if each.startswith(f"repositories/{BELOW}/_")]
    for blob in BLOBS:
        assert layout.blob_link(A, digest_of(blob)) in world.bucket.files
        assert world.bucket.files[layout.blob(digest_of(blob))] == blob
    # Pushing it again heals it, and then what is not needed goes.
    if what == "content":
        del world.bucket.files[path]  # as `verify` does
    run(world, ("push", A, IMAGES[2], T, "head"))
    world.clock.advance(UNTAGGED + GRACE + 1)
    run(world, ("collect",))
    assert not holds(world, IMAGES[0])
    assert holds(world, IMAGES[2])


def test_what_a_crash_leaves_of_referrers_is_taken(world: World) -> None:
    stale = layout.referrer(A, IMAGES[0].digest, REFERRERS[0].digest)
    run(world, ("push", A, IMAGES[0], T, "head"))
    world.bucket.files[stale] = b"{}"
    world.clock.advance(GRACE + 1)
    run(world, ("collect", None, True))
    assert stale in world.bucket.files
    run(world, ("collect",))
    assert stale not in world.bucket.files


def test_a_run_that_fails_can_be_made_again(world: World) -> None:
    run(world, ("push", A, IMAGES[0], T, "head"), ("delete_tag", A, T))
    world.clock.advance(GRACE + 1)
    world.failing = True
    world.bucket.fail = lambda label: (Unavailable("gone"), False) if label.startswith("remove") else None
    run(world, ("collect",))
    assert not world.collections
    world.bucket.fail = lambda label: None
    run(world, ("collect",))
    assert set(world.bucket.files) == {layout.VERSION_FILE}


def test_a_removal_under_way_goes_on_when_the_run_is_cancelled(world: World) -> None:
    """Its thread cannot be stopped: who wants the thing has to wait, and must not be told that it is there."""
    run(world, ("push", A, IMAGES[0], T, "head"), ("delete_tag", A, T))
    world.clock.advance(GRACE + 1)
    scheduler, link = world.scheduler, layout.blob_link(A, digest_of(BLOBS[0]))
    world.told.clear()
    running = world.begin(partial(world.collect, 0.0))
    while not any(event.label == f"remove {link}" for event in scheduler.pending):
        scheduler.fire(scheduler.pending[0])
    (removal,) = [event for event in scheduler.pending if event.label == f"remove {link}"]
    running.cancel()
    looking = world.begin(partial(world.ensure_blob, A, BLOBS[0]))
    while others := [event for event in scheduler.pending if event is not removal]:
        scheduler.fire(others[0])
    assert not looking.called
    scheduler.fire_all()
    assert looking.called
    world.check()
    assert not world.problems


def test_two_runs_take_turns(world: World) -> None:
    run(world, ("push", A, IMAGES[0], T, "head"), ("delete_tag", A, T))
    world.clock.advance(GRACE + 1)
    world.run([program(world, [("collect",)]), program(world, [("collect",)])])
    assert [each.manifests for each in world.collections] == [1, 0]


def test_a_dry_run_tells_what_a_real_one_does(world: World) -> None:
    run(world, ("push", A, INDEXES[1], T, "head"), ("push", A, REFERRERS[2], Tag("u"), "head"))
    run(world, ("delete_tag", A, T), ("push", A, IMAGES[2], None, "head"))
    world.check_quiet()
    assert not world.problems
    dry, real = world.collections
    assert (dry.manifests, dry.contents, dry.freed) == (real.manifests, real.contents, real.freed)
    assert (real.manifests, real.dry_run, dry.dry_run) == (4, False, True)


@pytest.mark.parametrize("room", ["none", "what the tag leaves"])
def test_a_tag_deleted_on_a_full_disk(world: World, room: str) -> None:
    """That it was deleted cannot be noted at first, or at all: what it kept goes all the same, at the next run."""
    run(world, ("push", A, IMAGES[0], T, "head"))
    world.clock.advance(GRACE + 1)

    def fail(label: str) -> tuple[Full, bool] | None:
        full = room == "none" or layout.tag(A, T) in world.bucket.files
        return (Full("no space left"), False) if label.startswith("put ") and full else None

    world.bucket.fail = fail
    run(world, ("delete_tag", A, T))
    world.clock.advance(GRACE + 1)
    run(world, ("collect",))
    assert set(world.bucket.files) == {layout.VERSION_FILE}


def test_a_manifest_pushed_again_after_that(world: World) -> None:
    """It is kept like any other that has no tag."""
    run(world, ("push", A, IMAGES[0], T, "head"))
    world.bucket.fail = lambda label: (Full("no space left"), False) if label.startswith("put ") else None
    run(world, ("delete_tag", A, T))
    world.bucket.fail = lambda label: None
    run(world, ("push", A, IMAGES[0], None, "head"))
    world.clock.advance(GRACE + 1)
    run(world, ("collect",))
    assert holds(world, IMAGES[0])
