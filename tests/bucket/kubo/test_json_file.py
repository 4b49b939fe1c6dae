"""What a daemon keeps on its disk: written one after the other, and only what is asked for last."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import Full
from ipfsreg.bucket.kubo.json_file import JsonFile


class Threads:
    """As `Workers`: each job is done when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def run(self, function: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self.jobs.append((lambda: function(*args), done))
        return done

    def go_on(self, error: OSError | None = None) -> None:
        job, done = self.jobs.pop(0)
        if error is None:
            done.callback(job())
        else:
            done.errback(error)


class File:
    def __init__(self, path: Path) -> None:
        self.threads = Threads()
        self.path = path
        workers: Any = self.threads
        self.file = JsonFile(path, workers)
        self.ended: list[Any] = []

    def write(self, number: int) -> None:
        writing = Deferred.fromCoroutine(self.file.write({"number": number}))
        writing.addBoth(lambda result: self.ended.append((number, result)))

    def read(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        Deferred.fromCoroutine(self.file.read()).addCallback(found.append)
        self.threads.go_on()
        return found[0]


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "noted.json")


def test_of_those_that_wait_the_last_is_written(file: File) -> None:
    for number in range(4):
        file.write(number)
    assert not file.ended
    file.threads.go_on()
    assert file.ended == [(0, None)]
    file.threads.go_on()
    assert sorted(file.ended) == [(0, None), (1, None), (2, None), (3, None)]
    assert not file.threads.jobs
    assert file.read() == {"number": 3}


def test_a_failure_is_not_passed_over_by_who_waits(file: File) -> None:
    for number in range(3):
        file.write(number)
    file.threads.go_on()
    file.threads.go_on(OSError(errno.ENOSPC, "full"))
    file.threads.go_on()
    (_, first), (_, second), (_, third) = sorted(file.ended, key=lambda each: each[0])
    assert first is third is None
    assert isinstance(second, Failure)
    assert second.check(Full)
    assert file.read() == {"number": 2}


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_what_holds_no_object_holds_nothing(file: File, content: bytes | None) -> None:
    if content is not None:
        file.path.write_bytes(content)
    assert file.read() == {}


def test_what_a_killed_daemon_was_writing_is_removed(file: File) -> None:
    kept = {"other.json", ".noted.json-mine", ".other.json-0123456789abcdef"}
    for name in [*kept, ".noted.json-0123456789abcdef", ".noted.json-fedcba9876543210"]:
        (file.path.parent / name).write_bytes(b"half of i")
    (file.path.parent / ".noted.json-00000000000000ff").mkdir()
    assert file.read() == {}
    assert {path.name for path in file.path.parent.iterdir()} == kept | {".noted.json-00000000000000ff"}


def test_what_is_being_written_is_not_taken_for_what_is_left(file: File) -> None:
    file.write(1)
    read: list[dict[str, Any]] = []
    Deferred.fromCoroutine(file.file.read()).addCallback(read.append)
    assert len(file.threads.jobs) == 1
    file.threads.go_on()
    file.threads.go_on()
    assert read == [{"number": 1}]
