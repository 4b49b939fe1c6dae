"""Tokens of others: whose they are, and which are refused."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey
from twisted.internet.defer import Deferred, fail, succeed

from ipfsreg.access.errors import BadCredentials, Unavailable
from ipfsreg.access.identity import Kind, User
from ipfsreg.access.issuers import LEEWAY_SECONDS, Issuers, parse_issuers
from ipfsreg.access.key_source import EVERY_SECONDS, JWKS_MAX, OLD_SECONDS, parse_jwks
from ipfsreg.access.watched import WatchedFile

from .helpers import TODAY, Threads, Time, as_workers, begun, result

FILE = """
[github]
issuer = https://token.example.org
audience = registry.example.org
keys = https://token.example.org/jwks
require = owner=acme, ref=refs/heads/**
user = {repository}
groups = {owner}, protected:{ref_protected}, {teams}

[files]
issuer = https://files.example.org
audience = registry.example.org
keys = DIRECTORY/jwks.json
require = nothing
user = {sub}
"""
CLAIMS: dict[str, Any] = {
    "iss": "https://token.example.org",
    "aud": "registry.example.org",
    "sub": "x",
    "owner": "acme",
    "repository": "acme/app",
    "ref": "refs/heads/main",
    "ref_protected": True,
    "teams": ["a", "b", 3, {"c": 1}, "d e"],
    "exp": int(TODAY) + 600,
    "iat": int(TODAY),
    "nbf": int(TODAY),
}
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")


def jwks(**keys: Key) -> bytes:
    return json.dumps({"keys": [{**key.as_dict(private=False), "kid": kid} for kid, key in keys.items()]}).encode()


class World:
    def __init__(self, directory: Path, text: str = FILE) -> None:
        self.directory = directory
        path = directory / "issuers.ini"
        path.write_text(text.replace("DIRECTORY", str(directory)))
        self.time = Time()
        self.fetched = 0
        self.answer: bytes | Exception | Deferred[bytes] = jwks(r1=RSA, e1=EC)
        workers = as_workers(Threads())
        file = WatchedFile(path, parse_issuers, workers, self.time)
        file.load()
        self.issuers = Issuers(file, self.fetch, workers, self.time, self.time.now)

    def fetch(self, url: str, limit: int) -> Awaitable[bytes]:
        assert (url, limit) == ("https://token.example.org/jwks", JWKS_MAX)
        self.fetched += 1
        if isinstance(self.answer, Exception):
            return fail(self.answer)
        return self.answer if isinstance(self.answer, Deferred) else succeed(self.answer)

    def who(self, token: str, name: str | None = None) -> User:
        return result(self.issuers.identify(token, name))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def as_part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token(key: Key = RSA, alg: str = "RS256", kid: str | None = "r1", **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    header = {"alg": alg} if kid is None else {"alg": alg, "kid": kid}
    return jwt.encode(header, claims, key, algorithms=[alg])


def test_who_it_is(world: World) -> None:
    for each in (token(), token(EC, "ES256", "e1"), token(alg="PS256"), token(aud=["other", "registry.example.org"])):
        user = world.who(each)
        assert (user.name, user.kind, user.expires) == ("github+acme/app", Kind.TOKEN, TODAY + 600)
        assert user.groups == {"github+acme", "github+protected:true", "github+a", "github+b", "github+3"}
    assert world.who(token(), "github").name == "github+acme/app"
    assert world.fetched == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example.org"},
        {"iss": None},
        {"iss": ["https://token.example.org"]},
        {"aud": "other"},
        {"aud": None},
        {"aud": ["registry.example.org.evil"]},
        {"exp": None},
        {"exp": int(TODAY) - LEEWAY_SECONDS},
        {"exp": "2100"},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"nbf": int(TODAY) + LEEWAY_SECONDS + 1},
        {"iat": int(TODAY) + LEEWAY_SECONDS + 1},
        {"owner": "evil"},
        {"owner": None},
        {"owner": ["acme"]},
        {"ref": "refs/tags/x"},
        {"repository": None},
        {"repository": "a b"},
        {"repository": "a,b"},
        {"repository": "a\nb"},
        {"repository": ""},
        {"repository": "a" * 300},
        {"repository": {"x": 1}},
    ],
    ids=str,
)
def test_claims_that_are_not_good(world: World, changes: dict[str, Any]) -> None:
    with pytest.raises(BadCredentials) as raised:
        world.who(token(**changes))
    assert len(str(raised.value)) < 200


def test_clocks_may_differ_a_little(world: World) -> None:
    world.who(token(exp=int(TODAY) - LEEWAY_SECONDS + 1))
    world.who(token(nbf=int(TODAY) + LEEWAY_SECONDS, iat=int(TODAY) + LEEWAY_SECONDS))


def test_only_the_keys_own_algorithms_count(world: World) -> None:
    stolen = token().split(".")
    confused = f"{as_part({'alg': 'HS256', 'kid': 'r1'})}.{stolen[1]}"
    mac = hmac.digest(RSA.as_pem(private=False), confused.encode(), "sha256")
    for forged in (
        f"{confused}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}",
        f"{as_part({'alg': 'none', 'kid': 'r1'})}.{stolen[1]}.",
        token(RSAKey.generate_key(2048)),
        token(EC, "ES256", "r1"),
        token(RSA, "RS256", "e1"),
        token(kid=None),  # of several keys
        f"{stolen[0]}.{stolen[1]}.{stolen[2][:-4]}AAAA",
        "x.y.z",
        "",
    ):
        with pytest.raises(BadCredentials):
            world.who(forged)


def test_a_name_that_is_said_has_to_be_the_issuers(world: World) -> None:
    with pytest.raises(BadCredentials, match="not known"):
        world.who(token(), "files")
    assert world.issuers.named("github")
    assert not world.issuers.named("gitlab")


def test_several_sections_about_one_issuer(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    other = FILE.partition("[files]")[0].replace("[github]", "[github-b]").replace("owner=acme", "owner=b")
    world = World(tmp_path / "more", FILE + other)
    assert world.who(token()).name == "github+acme/app"
    assert world.who(token(owner="b")).name == "github-b+acme/app"
    with pytest.raises(BadCredentials):
        world.who(token(owner="b"), "github")
    with pytest.raises(BadCredentials):
        world.who(token(owner="c"))


def test_a_key_that_is_not_known_has_them_fetched_but_not_all_the_time(world: World) -> None:
    world.who(token())
    new = RSAKey.generate_key(2048)
    world.answer = jwks(r2=new)
    for _ in range(10):
        with pytest.raises(BadCredentials, match="unknown key"):
            world.who(token(new, kid="r2"))
    assert world.fetched == 1
    world.time.advance(EVERY_SECONDS)
    assert world.who(token(new, kid="r2"))
    assert world.fetched == 2
    with pytest.raises(BadCredentials, match="unknown key"):
        world.who(token())  # withdrawn


def test_a_key_that_is_withdrawn_does_not_count_for_ever(world: World) -> None:
    long = token(exp=int(TODAY) + 10**6)
    world.who(long)
    fetching: Deferred[bytes] = Deferred()
    world.answer = fetching
    world.time.advance(OLD_SECONDS)
    world.who(long)  # they are fetched behind this one
    fetching.callback(jwks(e1=EC))
    with pytest.raises(BadCredentials, match="unknown key"):
        world.who(long)


@pytest.mark.parametrize(
    "answer", [ConnectionError("no"), b"", b"[]", b'{"keys": []}', b"x" * (JWKS_MAX + 1)], ids=lambda a: repr(a)[:20]
)
def test_an_issuer_that_is_down_is_no_wrong_password(world: World, answer: Any) -> None:
    good, world.answer = world.answer, answer
    for _ in range(5):
        with pytest.raises(Unavailable):
            world.who(token())
    assert world.fetched == 1
    world.time.advance(10)
    world.answer = good
    assert world.who(token())
    # The last good ones stay.
    world.answer = answer
    world.time.advance(EVERY_SECONDS)
    with pytest.raises(BadCredentials):
        world.who(token(kid="r9"))
    assert world.who(token())


def test_one_that_does_not_answer_keeps_nobody_waiting_for_long(world: World) -> None:
    world.answer = Deferred()
    asked = [begun(world.issuers.identify(token())) for _ in range(20)]
    assert world.fetched == 1
    world.time.advance(10)
    for each in asked:
        with pytest.raises(Unavailable):
            result(each)


def test_keys_in_a_file(world: World) -> None:
    iss = "https://files.example.org"
    with pytest.raises(Unavailable):
        world.who(token(iss=iss))
    (world.directory / "jwks.json").write_bytes(jwks(r1=RSA))
    world.time.advance(2)
    assert world.who(token(iss=iss)).name == "files+x"
    assert world.who(token(kid=None, iss=iss)).name == "files+x"  # the only one
    (world.directory / "jwks.json").write_bytes(jwks(e1=EC))
    world.time.advance(2)
    with pytest.raises(BadCredentials):
        world.who(token(iss=iss))
    assert world.fetched == 0


@pytest.mark.filterwarnings("ignore:Key size should be")  # joserfc's, about the short one
def test_keys_that_cannot_be_used_are_passed_over() -> None:
    rsa = RSA.as_dict(private=False)
    for data in (
        {"kty": "oct", "k": "c2VjcmV0" * 8},
        RSA.as_dict(private=True),
        {**rsa, "use": "enc"},
        {**rsa, "alg": "HS256"},
        {**rsa, "n": "AQAB"},
        {**rsa, "n": 5},
        RSAKey.generate_key(1024).as_dict(private=False),
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        "key",
        {},
    ):
        with pytest.raises(ValueError, match="no RSA key"):
            parse_jwks(json.dumps({"keys": [data]}).encode())
    (key,) = parse_jwks(json.dumps({"keys": [{**rsa, "alg": "RS384", "kid": "x"}]}).encode()).values()
    assert key.algorithms == ("RS384",)


GOOD = "[a]\nissuer=i\naudience=b\nkeys=/k\nrequire=nothing\nuser={sub}\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD.replace("[a]", "[A]"), "an issuer's name is"),
        (GOOD.replace("[a]", "[robot]"), "not robot"),
        (GOOD.replace("issuer=i\n", ""), "[a] issuer is missing"),
        (GOOD.replace("require=nothing\n", ""), "[a] require is missing"),
        (GOOD.replace("nothing", "everything"), "write nothing"),
        (GOOD.replace("{sub}", "ci"), "all would be one user"),
        (GOOD.replace("/k", "http://example.org/k"), "begins with https://"),
        (GOOD + "more=1", "[a] more: unknown option"),
        ("x", "no section headers"),
        (GOOD + GOOD, "already exists"),
        ("".join(GOOD.replace("[a]", f"[a{n}]") for n in range(60)), "more than 50 issuers"),
    ],
)
def test_a_wrong_file(text: str, line: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_issuers(text.encode())
    assert line in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
