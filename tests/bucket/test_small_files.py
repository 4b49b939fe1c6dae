"""The cache of small files: it never tells what is not so, whatever happens at once."""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipfsreg.bucket.cache.small_files import SmallFileCache
from ipfsreg.bucket.errors import BucketError, NotFound, TooLarge, Unavailable
from tests.full import examples

from .scheduled import ScheduledBucket, Scheduler

T = TypeVar("T")

PATHS = st.sampled_from(["a", "a", "a", "b"])
INDEXES = st.integers(0, 7)
CONTENTS = st.sampled_from([b"0", b"1"])


@dataclass(eq=False)
class Reading:
    path: str
    possible: set[bytes | None]
    """What was there at some moment since it began; None for nothing."""


class Reads(RuleBasedStateMachine):
    """A read answers what was there at some moment between its beginning and its end.

    That is strict: it also forbids an answer that is older than a change of which nobody has been told yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler()
        self.bucket = ScheduledBucket(self.scheduler)
        self.bucket.files = {"a": b"0", "b": b"0"}
        self.bucket.fail = lambda label: self._failures.pop(0) if self._failures else None
        self._failures: list[tuple[BucketError, bool] | None] = []
        # Room for two files or so, so that some are evicted.
        self.cache = SmallFileCache(self.bucket, 1000)
        self.reading: list[Reading] = []
        self.changes: list[Deferred[None]] = []
        self.wrong: list[str] = []

    @rule(path=PATHS)
    def get(self, path: str) -> None:
        reading = Reading(path, {self.bucket.files.get(path)})
        self.reading.append(reading)

        def got(result: bytes | Failure) -> None:
            self.reading.remove(reading)
            if isinstance(result, Failure):
                if result.check(Unavailable):
                    return
                result.trap(NotFound)
                result = None  # type: ignore[assignment]
            if result not in reading.possible:
                self.wrong.append(f"{path} was {result!r}, not one of {reading.possible}")

        self.cache.get(path, 100).addBoth(got)

    @rule(kind=st.sampled_from(["put", "put", "put_file", "remove", "move"]), path=PATHS, content=CONTENTS)
    def change(self, kind: str, path: str, content: bytes) -> None:
        began_as = self.bucket.files.get(path)
        if kind == "put":
            change = self.cache.put(path, content)
            if change.called:
                assert began_as == content, "a write was answered without being made"
                assert not self._is_being_changed(path), "what is there may not be durable yet"
        elif kind == "put_file":
            source = Path(f"{len(self.changes)}")
            self.bucket.spool[source] = content
            change = self.cache.put_file(path, source)
        elif kind == "remove":
            change = self.cache.remove(path)
        else:
            change = self.cache.move(path, "b" if path == "a" else "a")
        change.addErrback(lambda failure: None)
        self.changes.append(change)

    @rule(effective=st.booleans())
    def next_one_fails(self, effective: bool) -> None:
        self._failures = [(Unavailable("an outage"), effective)]

    @rule()
    def nobody_waits_any_more(self) -> None:
        for change in self.changes:
            change.cancel()

    @rule(indexes=st.lists(INDEXES, min_size=1, max_size=3))
    def something_happens(self, indexes: list[int]) -> None:
        for index in indexes:
            if self.scheduler.pending:
                self._fire(index % len(self.scheduler.pending))

    @invariant()
    def nothing_was_wrong(self) -> None:
        assert not self.wrong

    def teardown(self) -> None:
        while self.scheduler.pending:
            self._fire(0)
        self.nothing_was_wrong()
        assert not self.reading
        assert all(change.called for change in self.changes)
        for path in ("a", "b"):
            self.get(path)
        self.scheduler.fire_all()
        self.nothing_was_wrong()

    def _fire(self, index: int) -> None:
        self.scheduler.fire(self.scheduler.pending[index])
        for reading in self.reading:
            reading.possible.add(self.bucket.files.get(reading.path))

    def _is_being_changed(self, path: str) -> bool:
        labels = [event.label.removeprefix("told of ") for event in self.scheduler.pending]
        return any(path in label.split()[1:] for label in labels if not label.startswith("get"))


TestReads = Reads.TestCase
TestReads.settings = settings(max_examples=examples(15, 60), stateful_step_count=30, deadline=None)


@settings(max_examples=examples(150, 2500), deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(5, 40))
def test_many_reads_at_random(seed: int, steps: int) -> None:
    """The same machine driven in another way: far more steps in the same time, though they shrink less well."""
    random, machine = Random(seed), Reads()
    for _ in range(steps):
        path, content = random.choice("aaab"), random.choice([b"0", b"1"])
        at = random.random()
        if at < 0.25:
            machine.get(path)
        elif at < 0.45:
            machine.change(random.choice(["put", "put", "put_file", "remove", "move"]), path, content)
        elif at < 0.5:
            machine.nobody_waits_any_more()
        elif at < 0.53:
            machine.next_one_fails(random.random() < 0.5)
        else:
            machine.something_happens([random.randrange(8) for _ in range(random.randint(1, 3))])
        machine.nothing_was_wrong()
    machine.teardown()


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


@pytest.fixture
def bucket(scheduler: Scheduler) -> ScheduledBucket:
    return ScheduledBucket(scheduler)


def outcome(scheduler: Scheduler, deferred: "Deferred[T]") -> T:
    """What it fires with, once everything has happened."""
    results: list[T | Failure] = []
    deferred.addBoth(results.append)
    scheduler.fire_all()
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


def asked(scheduler: Scheduler) -> list[str]:
    return [event.label for event in scheduler.log if not event.label.startswith("told")]


def test_a_second_read_asks_nobody(scheduler: Scheduler, bucket: ScheduledBucket) -> None:
    cache = SmallFileCache(bucket, 10_000)
    bucket.files["f"] = b"content"
    for _ in range(3):
        assert outcome(scheduler, cache.get("f", 100)) == b"content"
    assert asked(scheduler) == ["get f"]
    with pytest.raises(TooLarge):
        outcome(scheduler, cache.get("f", 3))


def test_what_is_known_is_written_all_the_same(scheduler: Scheduler, bucket: ScheduledBucket) -> None:
    """The file itself may have been damaged since it was read: a push has to heal it."""
    cache = SmallFileCache(bucket, 10_000)
    bucket.files["f"] = b"content"
    outcome(scheduler, cache.get("f", 100))
    bucket.files["f"] = b""
    outcome(scheduler, cache.put("f", b"content"))
    assert bucket.files["f"] == b"content"


def test_memory_is_bounded(scheduler: Scheduler, bucket: ScheduledBucket) -> None:
    cache = SmallFileCache(bucket, 10_000)
    bucket.files.update({f"{number}": b"x" * 1000 for number in range(20)} | {"large": b"x" * 20_000})
    for path in bucket.files:
        outcome(scheduler, cache.get(path, 100_000))
    before = len(asked(scheduler))
    for path in bucket.files:
        outcome(scheduler, cache.get(path, 100_000))
    # The large one never fits, and of the small ones no more than bytes for ten were kept.
    assert len(asked(scheduler)) - before >= len(bucket.files) - 10


def test_what_others_may_change_is_believed_for_a_moment(scheduler: Scheduler, bucket: ScheduledBucket) -> None:
    now = 0.0
    bucket.shared = True
    cache = SmallFileCache(bucket, 10_000, lambda: now)
    bucket.files["f"] = b"1"
    assert outcome(scheduler, cache.get("f", 10)) == b"1"
    bucket.files["f"] = b"2"  # by another daemon
    now = 1.9
    assert outcome(scheduler, cache.get("f", 10)) == b"1"
    now = 2.1
    assert outcome(scheduler, cache.get("f", 10)) == b"2"
    bucket.files["f"] = b"3"
    outcome(scheduler, cache.put("f", b"2"))  # really written: it might have been changed meanwhile
    assert bucket.files["f"] == b"2"
