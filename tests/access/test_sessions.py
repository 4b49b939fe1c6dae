"""Sessions of browsers: whose they are, until when, and over a restart."""

import json
import stat
from pathlib import Path

import pytest

from ipfsreg.access import sessions
from ipfsreg.access.identity import Kind, User
from ipfsreg.access.sessions import SESSION_SECONDS, Sessions

from .helpers import Threads, Time, as_workers, result

ALICE = User("alice", Kind.PASSWORD, stamp="s1")
BOB = User("corp+bob", Kind.TOKEN, frozenset({"corp+staff", "corp+x"}), expires=2e9, stamp="")


class Kept:
    def __init__(self, directory: Path) -> None:
        self.file = directory / "sessions.json"
        self.threads, self.time = Threads(), Time()
        self.sessions = self.started()

    def started(self) -> Sessions:
        """As after a start of the daemon."""
        found = Sessions(self.file, as_workers(self.threads), self.time.now)
        found.load()
        return found

    def begin(self, user: User = ALICE) -> str:
        return result(self.sessions.begin(user))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_they_outlast_a_restart_and_their_end_does_too(kept: Kept) -> None:
    alice, other, bob = kept.begin(), kept.begin(), kept.begin(BOB)
    assert len({alice, other, bob}) == 3
    assert all(len(secret) >= 40 for secret in (alice, other, bob))
    result(kept.sessions.end(other))
    result(kept.sessions.end("nobody's"))
    again = kept.started()
    for found in (kept.sessions, again):
        assert (found.find(alice), found.find(other), found.find(bob), found.find("")) == (ALICE, None, BOB, None)
    assert stat.S_IMODE(kept.file.stat().st_mode) == 0o600
    assert alice not in kept.file.read_text()


def test_they_end_in_time_whatever_is_restarted(kept: Kept) -> None:
    first = kept.begin()
    kept.time.advance(SESSION_SECONDS - 1)
    second = kept.begin()
    assert kept.started().find(first) == ALICE
    kept.time.advance(1)
    for found in (kept.sessions, kept.started()):
        assert (found.find(first), found.find(second)) == (None, ALICE)
    third = kept.begin()
    assert [each["hash"] for each in json.loads(kept.file.read_text())["sessions"]] == [
        sessions._hash(secret) for secret in (second, third)
    ]


def test_one_that_a_wrong_clock_began_is_none(kept: Kept) -> None:
    secret = kept.begin()
    kept.time.day -= 60
    assert kept.started().find(secret) is None


def test_they_are_bounded(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 3)
    secrets = [kept.begin() for _ in range(5)]
    for found in (kept.sessions, kept.started()):
        assert [found.find(secret) is not None for secret in secrets] == [False, False, True, True, True]


def test_nobody_ends_the_sessions_of_others(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 9)
    monkeypatch.setattr(sessions, "SESSIONS_OF_USER", 4)
    bob, own = kept.begin(BOB), [kept.begin() for _ in range(3)]
    assert all(kept.sessions.find(each) for each in own)
    own += [kept.begin() for _ in range(9)]
    assert kept.sessions.find(bob) == BOB
    assert [kept.sessions.find(each) is not None for each in own] == [False] * 8 + [True] * 4
    result(kept.sessions.end(own.pop()))
    own.append(kept.begin())  # what was signed out of does not count
    assert all(kept.sessions.find(each) for each in own[-4:])


def test_many_that_begin_at_once_are_written_together(kept: Kept) -> None:
    kept.threads.later = []
    beginning = [sessions.Deferred.fromCoroutine(kept.sessions.begin(ALICE)) for _ in range(20)]
    kept.threads.finish()
    secrets = [result(each) for each in beginning]
    assert kept.threads.calls == 2
    assert all(kept.started().find(secret) == ALICE for secret in secrets)


@pytest.mark.parametrize("content", ["", "{", '{"version": 2, "sessions": []}', '{"sessions": [{"hash": "x"}]}'])
def test_a_damaged_file_ends_them_and_nothing_else(kept: Kept, content: str) -> None:
    kept.file.write_text(content)
    assert kept.started().find("x") is None
    secret = kept.begin()
    assert kept.started().find(secret) == ALICE


def test_a_disk_that_takes_nothing_keeps_nobody_from_signing_in(kept: Kept) -> None:
    kept.file.mkdir()
    assert kept.sessions.find(kept.begin()) == ALICE
