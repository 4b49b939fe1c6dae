"""What is told of refusals, and that it is no flood."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from ipfsreg.access import refusals
from ipfsreg.access.audit import AuditLog
from ipfsreg.access.identity import Action, Kind, User
from ipfsreg.access.refusals import LINES, WINDOW_SECONDS, Refusals

from .helpers import Threads, Time, as_workers

ALICE = User("alice", Kind.PASSWORD)


class Told:
    """Refusals, and the lines of both logs."""

    def __init__(self, directory: Path) -> None:
        self.time = Time()
        self._audit = directory / "audit"
        self.refusals = Refusals(AuditLog(self._audit, as_workers(Threads()), self.time.now), self.time.seconds)
        self.log: list[str] = []

    def audit(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._audit.read_text().splitlines()]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    made = Told(tmp_path)

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == refusals.__name__ + ".Refusals":
            made.log.append(formatEvent(event) or "")

    globalLogPublisher.addObserver(observe)
    yield made
    globalLogPublisher.removeObserver(observe)


def test_each_is_a_line(told: Told) -> None:
    told.refusals.login("bob", "192.0.2.1", "a wrong password for 'bob'")
    told.refusals.denied(Action.PULL, ALICE, "192.0.2.1", "secret/app", "no rule allows it")
    told.refusals.denied(Action.CATALOG, ALICE, "192.0.2.1", None, "no rule allows it")
    assert told.log == [
        "A login from 192.0.2.1 failed: a wrong password for 'bob'",
        "alice from 192.0.2.1 may not pull secret/app: no rule allows it",
        "alice from 192.0.2.1 may not list the repositories: no rule allows it",
    ]
    assert [(line["event"], line["user"], line["verdict"]) for line in told.audit()] == [
        ("login", "bob", "denied"),
        ("pull", "alice", "denied"),
        ("catalog", "alice", "denied"),
    ]


def test_one_client_has_some_lines_a_minute_and_the_rest_is_counted(told: Told) -> None:
    for _ in range(1000):
        told.refusals.denied(Action.PULL, ALICE, "192.0.2.1", "secret/app", "no rule allows it")
    told.refusals.login("bob", "192.0.2.2", "no")  # another one is not concerned
    assert (len(told.log), len(told.audit())) == (LINES + 1, LINES + 1)
    told.time.advance(WINDOW_SECONDS)
    told.refusals.login("bob", "192.0.2.2", "no")
    assert told.log[-2:] == ["970 more refusals of 192.0.2.1 were not logged.", "A login from 192.0.2.2 failed: no"]
    assert [(line["event"], line.get("lines")) for line in told.audit()[-2:]] == [
        ("refusals not logged", 970),
        ("login", None),
    ]


def test_the_network_of_an_ipv6_client_is_one(told: Told) -> None:
    for number in range(100):
        told.refusals.login("bob", f"2001:db8::{number:x}", "no")
    assert len(told.log) == LINES
    told.refusals.stop()
    assert told.log[-1] == f"{100 - LINES} more refusals of 2001:db8::/64 were not logged."


def test_a_flood_from_everywhere_is_bounded_too(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "CLIENTS", 3)
    told.refusals = Refusals(None, told.time.seconds)
    for number in range(100):
        told.refusals.login("bob", f"192.0.2.{number}", "no")
    assert len(told.log) == 3 + LINES
    told.refusals.stop()
    assert told.log[-1] == f"{97 - LINES} more refusals of other addresses were not logged."


def test_what_strangers_say_is_one_short_line(told: Told) -> None:
    told.refusals.login("x", "192.0.2.1", "a name\n\x1b[2J with " + "much in it " * 1000)
    (line,) = told.log
    assert line.isprintable()
    assert len(line) < 300
