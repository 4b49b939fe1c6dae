"""Access control as a configuration says, with real files and threads."""

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as running
from twisted.internet.defer import Deferred

from ipfsreg.access.authority import Authority, Basic, Bearer
from ipfsreg.access.errors import AccessFileError, BadCredentials
from ipfsreg.access.identity import ANONYMOUS, Action
from ipfsreg.access.robots import RobotsFile
from ipfsreg.access.scopes import parse_scopes
from ipfsreg.access.watched import LOOK_SECONDS
from ipfsreg.app.access_config import robots_path
from ipfsreg.app.access_control import make_authority
from ipfsreg.app.assembly import make_daemon
from ipfsreg.app.configuration import load_config
from ipfsreg.app.fetching import Fetcher
from ipfsreg.flow.workers import Workers
from tests.access.helpers import HASH, PASSWORD

reactor: Any = running

INI = """
[local]
path = DIRECTORY
[auth]
htpasswd = DIRECTORY/htpasswd
[access]
rules =
    allow alice pull,push team/**
[log]
audit = DIRECTORY/audit.jsonl
"""


class Running:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ini = directory / "ipfsreg.ini"
        self.ini.write_text(INI.replace("DIRECTORY", str(directory)))
        (directory / "htpasswd").write_text(f"alice:{HASH}\n")
        self.config = load_config(self.ini, reactor, {})
        self.workers = Workers(reactor, 2)
        made = make_authority(self.config, self.workers, reactor, Fetcher(reactor))
        assert made is not None
        self.authority: Authority = made

    async def after_a_look(self) -> None:
        looked: Deferred[None] = Deferred()
        reactor.callLater(LOOK_SECONDS + 0.05, looked.callback, None)
        await looked

    def audited(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def access(tmp_path: Path) -> Any:
    made = Running(tmp_path)
    made.workers.startService()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.authority.stop()))
    made.workers.stopService()


@pytest_twisted.ensureDeferred
async def test_from_a_file_to_verdicts_and_everything_read_again(access: Running) -> None:
    await access.workers.run(access.authority.load)
    authority = access.authority
    alice = await authority.identify(Basic("alice", PASSWORD), "127.0.0.1")
    assert authority.allows(alice, Action.PUSH, "team/x")
    token = authority.issue_token(alice, parse_scopes(["repository:team/x:pull"])).token
    assert (await authority.identify(Bearer(token), "127.0.0.1")).name == "alice"
    with pytest.raises(BadCredentials):
        await authority.identify(Basic("alice", "wrong"), "127.0.0.1")
    secret = RobotsFile(robots_path(access.config)).create("ci", ("team/*",), frozenset({Action.PULL}), 0, None)
    access.ini.write_text(access.ini.read_text().replace("alice pull", "anyone pull"))
    await access.after_a_look()
    assert (await authority.identify(Basic("robot+ci", secret), "127.0.0.1")).name == "robot+ci"
    assert authority.allows(ANONYMOUS, Action.PUSH, "team/x")
    # A file whose rules are gone, or cannot be read, changes nothing.
    for text in ("[local]\n", "[access]\nrules = x", "nonsense"):
        access.ini.write_text(text)
        await access.after_a_look()
        await authority.identify(None, "127.0.0.1")
        assert authority.allows(ANONYMOUS, Action.PUSH, "team/x")
    await authority.stop()
    assert [(line["event"], line["verdict"], line.get("file", "").rpartition("/")[2]) for line in access.audited()] == [
        ("login", "allowed", ""),
        ("login", "denied", ""),
        ("configuration", "allowed", "ipfsreg.ini"),
        ("configuration", "allowed", "robots.json"),
        ("login", "allowed", ""),
    ]
    assert sorted(path.name for path in access.directory.iterdir()) == [
        "audit.jsonl",
        "htpasswd",
        "ipfsreg.ini",
        "robots.json",
        "token-keys.json",
    ]


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_missing_is_said_at_the_start(access: Running) -> None:
    (access.directory / "htpasswd").unlink()
    with pytest.raises(AccessFileError, match="htpasswd: No such file"):
        await access.workers.run(access.authority.load)


def test_without_rules_there_is_no_access_control(tmp_path: Path) -> None:
    file = tmp_path / "ipfsreg.ini"
    file.write_text(f"[local]\npath = {tmp_path}\n")
    assert make_daemon(load_config(file, reactor, {}), reactor, print).parts.authority is None
