"""Access control through its one face: who is it, may they, and tokens."""

import json
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from twisted.internet.defer import succeed

from ipfsreg.access.audit import AuditLog
from ipfsreg.access.authority import Authority, Basic, Bearer, Credentials, IdentityProviders
from ipfsreg.access.certificates import ClientCertificate, parse_certificate_users
from ipfsreg.access.errors import AccessFileError, BadCredentials, TooManyAttempts
from ipfsreg.access.htpasswd import parse_htpasswd
from ipfsreg.access.identity import ANONYMOUS, Action, Kind, User
from ipfsreg.access.issuers import Issuers, parse_issuers
from ipfsreg.access.logins import AT_ONCE, WAITING_OF_CLIENT_MAX, Logins
from ipfsreg.access.robots import NO_ROBOTS, RobotsFile, parse_robots
from ipfsreg.access.rules import parse_rules
from ipfsreg.access.scopes import parse_scopes
from ipfsreg.access.sessions import Sessions
from ipfsreg.access.signing_keys import SigningKeys
from ipfsreg.access.throttling import FORGOTTEN_SECONDS, FREE, HAMMERED
from ipfsreg.access.tokens import Tokens, TokenTimes
from ipfsreg.access.watched import WatchedFile

from .helpers import HASH, PASSWORD, TODAY, Threads, Time, as_workers, begun, result

HERE = "192.0.2.1"
KEY = RSAKey.generate_key(2048)
RULES = """
allow alice  pull,push team/**
allow alice  catalog
allow anyone pull      public/*
allow github+* push    ci/*
deny  robot+ci push    team/frozen
"""
ISSUERS = """
[github]
issuer = https://token.example.org
audience = registry.example.org
keys = https://token.example.org/jwks
require = owner=acme
user = {sub}
"""


class World:
    """Everything that there is, in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.time = Time()
        self.threads = Threads()
        self.robots = RobotsFile(directory / "robots.json")
        self.write("htpasswd", f"alice:{HASH}\nbob:{HASH}\n")
        self.write("rules", RULES)
        self.write("issuers", ISSUERS)
        self.authority = self.started()

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def started(self) -> Authority:
        workers, now = as_workers(self.threads), self.time.now
        at = self.directory.__truediv__
        issuers = Issuers(
            WatchedFile(at("issuers"), parse_issuers, workers, self.time), self.fetch, workers, self.time, now
        )
        logins = Logins(
            WatchedFile(at("htpasswd"), parse_htpasswd, workers, self.time),
            WatchedFile(at("robots.json"), parse_robots, workers, self.time, missing=NO_ROBOTS),
            issuers,
            workers,
            self.time,
            now,
        )
        times = TokenTimes()
        tokens = Tokens(SigningKeys(at("keys"), workers, now, times.offline), "registry.example.org", now, times)
        rules = WatchedFile(at("rules"), lambda content: parse_rules(content.decode()), workers, self.time)
        providers = IdentityProviders(logins, issuers, parse_certificate_users("cn ** ="))
        sessions = Sessions(at("sessions"), workers, now)
        authority = Authority(rules, providers, tokens, sessions, AuditLog(at("audit"), workers, now))
        authority.load()
        return authority

    def fetch(self, url: str, limit: int) -> Awaitable[bytes]:
        return succeed(json.dumps({"keys": [{**KEY.as_dict(private=False), "kid": "k"}]}).encode())

    def who(self, credentials: Credentials, address: str = HERE) -> User:
        return result(self.authority.identify(credentials, address))

    def token(self, credentials: Credentials, *scopes: str, offline: bool = False) -> Any:
        return self.authority.issue_token(self.who(credentials), parse_scopes(scopes), offline=offline)

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "audit").read_text().splitlines()]

    def foreign(self, **changes: Any) -> str:
        claims = {
            "iss": "https://token.example.org",
            "aud": "registry.example.org",
            "sub": "app",
            "owner": "acme",
            "exp": int(TODAY) + 600,
            **changes,
        }
        return jwt.encode({"alg": "RS256", "kid": "k"}, claims, KEY, algorithms=["RS256"])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


ALICE = Basic("alice", PASSWORD)


def test_everybody_is_known_by_what_they_come_with(world: World) -> None:
    secret = world.robots.create("ci", ("team/*",), frozenset({Action.PUSH}), TODAY, None)
    world.time.advance(2)
    assert world.who(None) == ANONYMOUS
    for credentials, name, kind in (
        (ALICE, "alice", Kind.PASSWORD),
        (Basic("robot+ci", secret), "robot+ci", Kind.ROBOT),
        (Basic("github", world.foreign()), "github+app", Kind.TOKEN),
        (Bearer(world.foreign()), "github+app", Kind.TOKEN),
        (ClientCertificate((("cn", "carol"),), TODAY + 60), "carol", Kind.CERTIFICATE),
    ):
        user = world.who(credentials)
        assert (user.name, user.kind) == (name, kind)


@pytest.mark.parametrize(
    "credentials",
    [
        Basic("alice", "wrong"),
        Basic("alice", ""),
        Basic("", ""),
        Basic("nobody", PASSWORD),
        Basic("anonymous", PASSWORD),
        Basic("robot+ci", PASSWORD),
        Basic("robot+", ""),
        Basic("github", PASSWORD),
        Basic("alice", "eyJ.x.y"),
        Basic("github", "eyJ.x.y"),
        Basic("\x00\n\udcff", "\udcff"),
        Bearer(""),
        Bearer("eyJ.."),
        Bearer(PASSWORD),
        ClientCertificate((), TODAY),
    ],
    ids=lambda each: type(each).__name__,
)
def test_who_is_nobody_is_told_nothing_and_the_audit_log_has_no_secret(world: World, credentials: Credentials) -> None:
    with pytest.raises(BadCredentials):
        world.who(credentials)
    (line,) = world.audit()
    assert (line["event"], line["verdict"], line["address"]) == ("login", "denied", HERE)
    assert PASSWORD not in (world.directory / "audit").read_text()
    assert PASSWORD not in repr(credentials)


def test_tokens_of_others_that_are_not_good(world: World) -> None:
    for changes in ({"owner": "evil"}, {"exp": 5}, {"aud": "x"}):
        for credentials in (Bearer(world.foreign(**changes)), Basic("github", world.foreign(**changes))):
            with pytest.raises(BadCredentials):
                world.who(credentials)


def test_a_password_is_computed_once_and_not_on_each_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    check = bcrypt.checkpw

    def counted(password: bytes, hashed: bytes) -> bool:
        computed.append(1)
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    for _ in range(5):
        world.who(ALICE)
        world.time.advance(10)
    assert len(computed) == 1
    world.who(Basic("bob", PASSWORD))
    assert len(computed) == 2
    world.time.advance(301)
    world.who(ALICE)
    assert len(computed) == 3


def test_many_requests_with_one_password_compute_it_once(world: World) -> None:
    world.threads.later = []
    before = world.threads.calls
    asked = [begun(world.authority.identify(ALICE, HERE)) for _ in range(100)]
    world.threads.finish()
    assert {result(each).name for each in asked} == {"alice"}
    assert world.threads.calls == before + 2  # one for the password, one for the line of the audit log


def test_a_client_cannot_fill_the_queue(world: World) -> None:
    world.threads.later = []
    asked = [begun(world.authority.identify(Basic(f"user{n}", "x"), HERE)) for n in range(30)]
    others = begun(world.authority.identify(ALICE, "198.51.100.1"))
    assert len(world.threads.later) <= AT_ONCE + 1  # that of the audit log
    refused = 0
    for each in asked:
        if each.called:
            with pytest.raises(TooManyAttempts):
                result(each)
            refused += 1
    assert refused >= 30 - WAITING_OF_CLIENT_MAX
    world.threads.finish()
    assert result(others).name == "alice"
    for each in asked[: 30 - refused]:
        with pytest.raises(BadCredentials):
            result(each)


def test_who_guesses_is_throttled_and_who_is_logged_in_goes_on(world: World) -> None:
    secret = world.robots.create("ci", ("**",), frozenset({Action.PULL}), TODAY, None)
    world.time.advance(2)
    world.who(ALICE)
    token = world.token(ALICE, "repository:team/x:pull").token
    looked_at = 0
    for number in range(100):
        with pytest.raises((BadCredentials, TooManyAttempts)) as raised:
            world.who(Basic(f"user{number}", "guess"))
        looked_at += raised.type is BadCredentials
    assert looked_at == FREE
    for good in (ALICE, Bearer(token), Basic("robot+ci", secret), None):
        world.who(good)
    assert world.who(Basic("bob", PASSWORD), "198.51.100.1").name == "bob"
    with pytest.raises(TooManyAttempts):
        world.who(Basic("bob", PASSWORD))
    denied = [line["user"] for line in world.audit() if line["verdict"] == "denied"]
    assert denied[:2] == ["user0", "user1"]


def test_a_network_of_ipv6_is_one_client(world: World) -> None:
    looked_at = 0
    for number in range(1, 50):
        with pytest.raises((BadCredentials, TooManyAttempts)) as raised:
            world.who(Basic("alice", f"guess {number}"), f"2001:db8::{number:x}")
        looked_at += raised.type is BadCredentials
    assert looked_at == FREE
    assert world.who(ALICE, "2001:db8:0:1::1").name == "alice"


def test_a_password_that_is_remembered_helps_nobody_to_guess_it(world: World) -> None:
    world.who(ALICE)
    for number in range(FREE):
        with pytest.raises(BadCredentials):
            world.who(Basic("alice", f"guess {number}"), "198.51.100.1")
    # It is right now, and there is no way to see it; also not where she is logged in, in the end.
    with pytest.raises(TooManyAttempts):
        world.who(ALICE, "198.51.100.1")
    let_in = 0
    for number in range(HAMMERED + FREE + 10):
        with pytest.raises((BadCredentials, TooManyAttempts)):
            world.who(Basic("alice", f"guess {number}"))
        with suppress(TooManyAttempts):
            let_in += world.who(ALICE).name == "alice"
    assert let_in == HAMMERED + FREE - 1
    world.time.advance(FORGOTTEN_SECONDS + 1)
    assert world.who(ALICE)


def test_a_password_that_is_changed_counts_no_more_and_neither_does_any_token_of_it(world: World) -> None:
    issued = world.token(ALICE, "repository:team/x:pull", offline=True)
    world.who(Bearer(issued.token))
    new = bcrypt.hashpw(b"new", bcrypt.gensalt(4)).decode()
    for text, name in ((f"alice:{new}\n", "changed"), ("bob:" + HASH, "gone")):
        world.write("htpasswd", text)
        world.time.advance(2)
        for credentials in (ALICE, Bearer(issued.token)):
            with pytest.raises(BadCredentials):
                world.who(credentials)
        with pytest.raises(BadCredentials):
            result(world.authority.redeem(issued.offline_token, HERE))
        if name == "changed":
            assert world.who(Basic("alice", "new"), "198.51.100.1").name == "alice"


def test_who_has_just_been_made_can_log_in_at_once(world: World) -> None:
    """No second has passed since the files were looked at."""
    world.who(ALICE)
    secret = world.robots.create("ci", ("team/*",), frozenset({Action.PUSH}), TODAY, None)
    assert world.who(Basic("robot+ci", secret)).name == "robot+ci"
    world.robots.revoke("ci")
    secret = world.robots.create("ci", ("team/*",), frozenset({Action.PUSH}), TODAY, None)
    assert world.who(Basic("robot+ci", secret)).name == "robot+ci"
    new = bcrypt.hashpw(b"new", bcrypt.gensalt(4)).decode()
    world.write("htpasswd", f"alice:{new}\ncarol:{HASH}\n")
    assert world.who(Basic("carol", PASSWORD)).name == "carol"
    world.write("htpasswd", f"alice:{HASH}\ncarol:{new}\n")
    assert world.who(Basic("carol", "new")).name == "carol"
    # None of that counted as a failure.
    for number in range(FREE):
        with pytest.raises(BadCredentials):
            world.who(Basic("robot+x" if number % 2 else "nobody", "guess"))


def test_who_guesses_makes_the_files_be_read_no_oftener_than_it_may_guess(world: World) -> None:
    world.who(ALICE)
    reads: list[Path] = []
    for file in (world.authority._logins.robots, world.authority._logins.htpasswd):
        assert file is not None
        count_reads(file, reads)
    for number in range(1000):
        for name in ("robot+ci", f"robot+{number}", f"user{number}"):
            with pytest.raises((BadCredentials, TooManyAttempts)):
                world.who(Basic(name, f"guess {number}"))
    assert len(reads) == FREE
    world.threads.later = []
    asked = [begun(world.authority.identify(Basic("robot+ci", "x"), f"198.51.100.{n}")) for n in range(200)]
    assert len(world.threads.later) <= 2  # one read for all of them, and a line of the audit log
    world.threads.finish()
    for each in asked:
        with pytest.raises((BadCredentials, TooManyAttempts)):
            result(each)


def count_reads(file: WatchedFile[Any], reads: list[Path]) -> None:
    read = file._read

    def counted() -> Any:
        reads.append(file.path)
        return read()

    file._read = counted  # type: ignore[method-assign]


def test_a_robot_that_is_revoked_or_expired(world: World) -> None:
    secret = world.robots.create("ci", ("team/*",), frozenset({Action.PUSH}), TODAY, TODAY + 100)
    world.time.advance(2)
    robot = Basic("robot+ci", secret)
    issued = world.token(robot, "repository:team/x:push", offline=True)
    assert issued.expires_in == 98
    assert world.authority.allows(world.who(Bearer(issued.token)), Action.PUSH, "team/x")
    world.robots.revoke("ci")
    world.time.advance(2)
    for credentials in (robot, Bearer(issued.token)):
        with pytest.raises(BadCredentials):
            world.who(credentials)
    secret = world.robots.create("ci", ("team/*",), frozenset({Action.PUSH}), TODAY, TODAY + 100)
    world.time.advance(2)
    assert world.who(Basic("robot+ci", secret)).name == "robot+ci"
    with pytest.raises(BadCredentials):
        world.who(Bearer(issued.token))  # that of the one that was revoked
    world.time.advance(100)
    with pytest.raises(BadCredentials, match="has expired"):
        world.who(Basic("robot+ci", secret))


def test_a_token_holds_what_is_asked_for_and_allowed(world: World) -> None:
    def granted(credentials: Credentials, *scopes: str) -> list[tuple[Any, list[str]]]:
        user = world.who(Bearer(world.token(credentials, *scopes).token))
        assert user.scope is not None
        return [(grant.repositories, sorted(each.value for each in grant.actions)) for grant in user.scope]

    assert granted(ALICE, "repository:team/x:pull,push,delete repository:other:pull registry:catalog:*") == [
        ("team/x", ["pull", "push"]),
        ("catalog", ["catalog"]),
    ]
    assert granted(ALICE, "repository:team/x:*") == [("team/x", ["pull", "push"])]
    assert granted(None, "repository:public/x:pull,push repository:team/x:pull registry:catalog:*") == [
        ("public/x", ["pull"])
    ]
    assert granted(Bearer(world.foreign()), "repository:ci/x:push,pull") == [("ci/x", ["push"])]
    assert granted(None) == []
    secret = world.robots.create("ci", ("team/*",), frozenset({Action.PUSH}), TODAY, None)
    world.time.advance(2)
    robot = Basic("robot+ci", secret)
    assert granted(robot, "repository:team/x:pull,push", "repository:team/frozen:push", "repository:public/x:pull") == [
        ("team/x", ["push"])
    ]


def test_a_token_is_good_for_its_scope_and_for_what_the_rules_say_now(world: World) -> None:
    token = Bearer(world.token(ALICE, "repository:team/x:pull,push").token)
    user = world.who(token)
    assert world.authority.allows(user, Action.PUSH, "team/x")
    assert not world.authority.allows(user, Action.PUSH, "team/y")
    assert not world.authority.allows(user, Action.CATALOG)
    world.write("rules", "allow alice pull team/**")
    world.time.advance(2)
    user = world.who(token)
    assert world.authority.allows(user, Action.PULL, "team/x")
    assert not world.authority.allows(user, Action.PUSH, "team/x")


def test_what_is_good_for_minutes_does_not_become_good_for_months(world: World) -> None:
    issued = world.token(ALICE, "repository:team/x:pull", offline=True)
    assert issued.offline_token
    assert world.token(Bearer(issued.token), "repository:team/x:pull", offline=True).offline_token is None
    world.time.advance(200)
    again = world.token(Bearer(issued.token), "repository:team/x:pull,push")
    assert again.expires_in == 100
    assert not world.authority.allows(world.who(Bearer(again.token)), Action.PUSH, "team/x")
    for each in (None, Bearer(world.foreign()), ClientCertificate((("cn", "carol"),), TODAY + 600)):
        assert world.token(each, offline=True).offline_token is None


def test_an_offline_token_gets_access_tokens_and_none_that_outlives_it(world: World) -> None:
    kept = world.token(ALICE, offline=True).offline_token
    assert kept
    with pytest.raises(BadCredentials):
        world.who(Bearer(kept))
    world.time.advance(60 * 86400)
    user = result(world.authority.redeem(kept, HERE))
    issued = world.authority.issue_token(user, parse_scopes(["repository:team/x:push"]), offline=True)
    assert world.authority.allows(world.who(Bearer(issued.token)), Action.PUSH, "team/x")
    world.time.advance(31 * 86400)
    for each in (kept, issued.offline_token or ""):
        with pytest.raises(BadCredentials):
            result(world.authority.redeem(each, HERE))
    for other in (issued.token, "", "x" * 10**6):
        with pytest.raises(BadCredentials):
            result(world.authority.redeem(other, HERE))


def test_after_a_restart_tokens_are_good(world: World) -> None:
    issued = world.token(ALICE, "repository:team/x:pull", offline=True)
    world.authority = world.started()
    assert world.who(Bearer(issued.token)).name == "alice"
    assert result(world.authority.redeem(issued.offline_token, HERE)).name == "alice"


def test_a_catalog_shows_what_the_asker_may_pull(world: World) -> None:
    names = ["team/a", "public/a", "secret", "team/b/c", "public/a/b"]
    for credentials, seen in ((ALICE, ["team/a", "public/a", "team/b/c"]), (None, ["public/a"])):
        verdict = world.authority.decider(world.who(credentials), Action.PULL)
        assert [name for name in names if verdict(name)] == seen
        user = world.who(credentials)
        assert seen == [name for name in names if world.authority.allows(user, Action.PULL, name)]


def test_broken_files_leave_everything_as_it_was(world: World) -> None:
    for name in ("htpasswd", "rules", "issuers", "robots.json"):
        world.write(name, "x")
    world.time.advance(2)
    assert world.authority.allows(world.who(ALICE), Action.PUSH, "team/x")
    assert world.who(Bearer(world.foreign()))
    with pytest.raises(AccessFileError):
        world.started()  # but a daemon does not start with them


def test_nothing_comes_of_names_that_are_alike(world: World) -> None:
    """No way of saying who one is leads to a name of another way."""
    world.write("rules", "allow github+app,robot+ci pull **")
    world.write("issuers", ISSUERS.replace("{sub}", "{sub}"))
    world.time.advance(2)
    for name in ("github+app", "robot+ci"):
        with pytest.raises(BadCredentials):
            world.who(ClientCertificate((("cn", name),), TODAY + 60))
    user = world.who(Bearer(world.foreign(sub="x+robot+ci")))
    assert not world.authority.allows(user, Action.PULL, "a")
    assert not world.authority.allows(replace(user, name="alice2"), Action.PULL, "a")


def test_a_certificate_that_expires_on_an_open_connection_is_nobodys_any_more(world: World) -> None:
    certificate = ClientCertificate((("cn", "builder"),), TODAY + 60)
    assert world.who(certificate).name == "builder"
    world.time.advance(60)
    with pytest.raises(BadCredentials, match="expired"):
        world.who(certificate)


def test_a_login_is_in_the_audit_log_once_as_long_as_it_is_remembered(world: World) -> None:
    secret = world.robots.create("ci", ("team/*",), frozenset({Action.PUSH}), TODAY, None)
    world.time.advance(2)
    for _ in range(3):
        for credentials in (ALICE, Basic("robot+ci", secret), Basic("github", world.foreign())):
            world.who(credentials)
    world.who(ALICE, "198.51.100.7")
    logins = [(line["user"], line["address"]) for line in world.audit() if line["verdict"] == "allowed"]
    assert logins == [("alice", HERE), ("robot+ci", HERE), ("github+app", HERE), ("alice", "198.51.100.7")]
    world.time.advance(400)
    world.who(ALICE)
    assert world.audit()[-1]["user"] == "alice"
    assert len(world.audit()) == 5


def test_the_end_waits_for_the_audit_log(world: World) -> None:
    world.threads.later = []
    world.authority.record("push", User("alice", Kind.PASSWORD), HERE, repository="a")
    ended = begun(world.authority.stop())
    assert not ended.called
    world.threads.finish()
    result(ended)
    assert [line["event"] for line in world.audit()] == ["push"]
