"""The audit log: a line for each event, in order, and no way for a client to write one of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs

from ipfsreg.access.audit import AuditLog
from ipfsreg.access.errors import AccessFileError
from ipfsreg.access.identity import ANONYMOUS, Kind, User
from ipfsreg.flow.line_file import WAITING_MAX

from .helpers import Threads, Time, as_workers, result

alice = User("alice", Kind.PASSWORD)


class Auditing:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.threads = Threads()
        self.log = AuditLog(path, as_workers(self.threads), Time().now)
        self.log.load()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text("ascii").splitlines()]


@pytest.fixture
def auditing(tmp_path: Path) -> Auditing:
    return Auditing(tmp_path / "audit.jsonl")


def test_a_line_says_who_from_where_what_and_the_verdict(auditing: Auditing) -> None:
    auditing.log.record("push", alice, "192.0.2.1", allowed=True, repository="team/app", rule="allow alice push")
    auditing.log.record("delete", ANONYMOUS, "unix", allowed=False, repository="team/app", rule=None)
    assert auditing.lines() == [
        {
            "time": "2030-03-17T17:46:40.000+00:00",
            "event": "push",
            "user": "alice",
            "address": "192.0.2.1",
            "verdict": "allowed",
            "repository": "team/app",
            "rule": "allow alice push",
        },
        {
            "time": "2030-03-17T17:46:40.000+00:00",
            "event": "delete",
            "user": "anonymous",
            "address": "unix",
            "verdict": "denied",
            "repository": "team/app",
            "rule": None,
        },
    ]
    assert auditing.path.stat().st_mode & 0o777 == 0o600


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.text(), st.text())
def test_whatever_a_client_is_called_there_is_one_line(auditing: Auditing, name: str, repository: str) -> None:
    before = len(auditing.lines())
    auditing.log.record("login", name, "192.0.2.1", allowed=False, repository=repository)
    assert len(auditing.path.read_bytes().split(b"\n")) == before + 2
    line = auditing.lines()[-1]
    assert (line["user"], line["repository"]) == (name[:1024], repository[:1024])
    assert all(32 <= byte < 127 for byte in auditing.path.read_bytes().replace(b"\n", b""))


def test_long_texts_are_cut(auditing: Auditing) -> None:
    auditing.log.record("login", "x" * 10**6, "y" * 10**6, allowed=False, reason="z" * 10**6)
    assert auditing.path.stat().st_size < 4000


def test_a_file_that_was_moved_away_is_written_to_no_more(auditing: Auditing) -> None:
    auditing.log.record("login", alice, "a", allowed=True)
    moved = auditing.path.rename(auditing.path.with_suffix(".1"))
    auditing.log.record("login", alice, "b", allowed=True)
    assert [line["address"] for line in auditing.lines()] == ["b"]
    assert "b" not in json.loads(moved.read_text())["address"]


def test_order_stays_and_what_is_too_much_is_counted(auditing: Auditing) -> None:
    auditing.threads.later = []
    for number in range(WAITING_MAX + 8):
        auditing.log.record("push", alice, str(number), allowed=True)
    auditing.threads.finish()
    result(auditing.log.stop())
    lines = auditing.lines()
    dropped = [line for line in lines if line["event"] == "dropped"]
    written = [int(line["address"]) for line in lines if line["event"] == "push"]
    assert written == sorted(written)
    assert dropped == [{"event": "dropped", "lines": WAITING_MAX + 8 - len(written)}]
    assert len(written) >= WAITING_MAX


def test_a_disk_that_is_full_is_said_once_and_what_is_lost_is_counted(
    auditing: Auditing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, capturedLogs() as logs:
        patched.setattr("ipfsreg.flow.line_file.os.write", full)
        for _ in range(3):
            auditing.log.record("push", alice, "lost", allowed=True)
    assert len([event for event in logs if "No space" in event.get("problem", "")]) == 1
    auditing.log.record("push", alice, "kept", allowed=True)
    assert [line.get("lines", line.get("address")) for line in auditing.lines()] == [3, "kept"]


def test_half_a_line_does_not_spoil_the_next_one(auditing: Auditing, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    write = os.write
    answers = iter([lambda descriptor, content: write(descriptor, content[:10])])

    def short(descriptor: int, content: bytes) -> int:
        for answer in answers:
            return answer(descriptor, content)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("ipfsreg.flow.line_file.os.write", short)
        auditing.log.record("push", alice, "half", allowed=True)
    auditing.log.record("push", alice, "whole", allowed=True)
    half, *rest = auditing.path.read_text().splitlines()
    assert len(half) == 10
    assert [json.loads(line).get("address") for line in rest] == [None, "whole"]


def test_a_place_where_none_can_be(tmp_path: Path) -> None:
    with pytest.raises(AccessFileError, match="No such file or directory"):
        Auditing(tmp_path / "nowhere" / "audit.jsonl")
