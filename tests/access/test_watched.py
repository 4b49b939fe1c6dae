"""Files that are read again: at most once a second, and broken ones do not count."""

import os
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from ipfsreg.access.errors import AccessFileError
from ipfsreg.access.watched import FILE_MAX, WatchedFile

from .helpers import Threads, Time, as_workers, begun, result


def number(content: bytes) -> int:
    if not content.strip().isdigit():
        raise ValueError("not a number")
    return int(content)


class Watching:
    def __init__(self, path: Path, missing: bytes | None = None) -> None:
        self.path = path
        self.time = Time()
        self.threads = Threads()
        self.changes: list[Path] = []
        self.file = WatchedFile(
            path, number, as_workers(self.threads), self.time, missing=missing, changed=self.changes.append
        )

    def after(self, seconds: float) -> int:
        self.time.advance(seconds)
        return result(self.file.latest())


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    (tmp_path / "file").write_text("1")
    found = Watching(tmp_path / "file")
    assert found.file.load() == 1
    return found


def test_it_is_looked_at_once_a_second(watching: Watching) -> None:
    watching.path.write_text("2")
    assert watching.after(0.9) == 1
    assert watching.threads.calls == 0
    assert watching.after(0.2) == 2
    assert watching.after(0.2) == 2
    assert watching.threads.calls == 1
    assert watching.changes == [watching.path]
    watching.after(10)
    assert watching.changes == [watching.path]  # what is as it was, was not changed


def test_a_change_that_leaves_size_and_time_as_they_were_is_seen(watching: Watching) -> None:
    before = watching.path.stat()
    watching.path.write_text("3")
    os.utime(watching.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert watching.after(2) == 3


def test_a_broken_file_keeps_the_last_good_one_and_says_so_once(watching: Watching) -> None:
    for make_broken, word in (
        (lambda: watching.path.write_text("x"), "not a number"),
        (lambda: watching.path.write_bytes(b"1" * (FILE_MAX + 1)), "Is longer than"),
        (watching.path.unlink, "No such file"),
        (lambda: os.mkfifo(watching.path), "Is a pipe"),
    ):
        make_broken()
        with capturedLogs() as logs:
            assert [watching.after(2) for _ in range(3)] == [1, 1, 1]
        assert len([event for event in logs if word in event.get("problem", "")]) == 1
    watching.path.unlink()
    watching.path.write_text("4")
    assert watching.after(2) == 4


def test_many_who_ask_at_once_cause_one_look(watching: Watching) -> None:
    watching.path.write_text("5")
    watching.threads.later = []
    watching.time.advance(2)
    asked = [begun(watching.file.latest()) for _ in range(10)]
    watching.threads.finish()
    assert [result(each) for each in asked] == [5] * 10
    assert watching.threads.calls == 1


def test_a_disk_that_hangs_keeps_nobody_waiting_for_long(watching: Watching) -> None:
    watching.threads.later = []
    watching.time.advance(2)
    asked = begun(watching.file.latest())
    assert not asked.called
    watching.time.advance(5)
    assert result(asked) == 1


def test_the_first_time_it_has_to_be_good(tmp_path: Path) -> None:
    for content, line in ((None, "No such file or directory"), ("x", "not a number")):
        if content is not None:
            (tmp_path / "file").write_text(content)
        with pytest.raises(AccessFileError, match=line):
            Watching(tmp_path / "file").file.load()


def test_one_that_may_be_missing(tmp_path: Path) -> None:
    watching = Watching(tmp_path / "file", missing=b"0")
    assert watching.file.load() == 0
    assert watching.after(2) == 0
    watching.path.write_text("7")
    assert watching.after(2) == 7
    watching.path.unlink()  # that it is gone now is no reason to forget what it said
    assert watching.after(2) == 7
