"""Our own tokens: nobody makes one but we, and each is good for what and as long as it says."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from ipfsreg.access.errors import AccessFileError, BadCredentials, BadScope
from ipfsreg.access.identity import ANONYMOUS, Action, Kind, User
from ipfsreg.access.scopes import Granted, parse_scopes
from ipfsreg.access.signing_keys import ROTATION_SECONDS, SigningKeys
from ipfsreg.access.tokens import LEEWAY_SECONDS, Tokens, TokenTimes
from tests.full import examples

from .helpers import TODAY, Threads, Time, as_workers

TIMES = TokenTimes(access=300, offline=90 * 86400)
alice = User("alice", Kind.PASSWORD, frozenset(), stamp="s1")


class Service:
    def __init__(self, directory: Path) -> None:
        self.path = directory / "token-keys.json"
        self.time = Time()
        self.threads = Threads()
        self.tokens = self.started()

    def started(self, name: str = "registry.example.org") -> Tokens:
        """As after a start of the daemon."""
        keys = SigningKeys(self.path, as_workers(self.threads), self.time.now, keep=TIMES.offline)
        tokens = Tokens(keys, name, self.time.now, TIMES)
        tokens.load()
        return tokens

    def token(self, user: User = alice, scope: str = "repository:team/app:pull,push") -> str:
        granted = [Granted(each, each.wanted) for each in parse_scopes([scope])]
        return self.tokens.issue(user, granted).token


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


def part(text: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(urlsafe_b64decode(text + "=="))
    return found


def as_part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_claims_are_those_of_dockers_specification(service: Service) -> None:
    issued = service.tokens.issue(
        alice, [Granted(each, each.wanted) for each in parse_scopes(["repository:a/b:pull registry:catalog:*"])]
    )
    header, claims = map(part, issued.token.split(".")[:2])
    assert header["alg"] == "HS256"
    assert claims["access"] == [
        {"type": "repository", "name": "a/b", "actions": ["pull"]},
        {"type": "registry", "name": "catalog", "actions": ["*"]},
    ]
    assert claims["iss"] == claims["aud"] == "registry.example.org"
    assert (claims["sub"], claims["iat"], claims["nbf"], claims["exp"]) == ("alice", TODAY, TODAY, TODAY + 300)
    assert claims["jti"]
    assert (issued.expires_in, issued.issued_at, issued.offline_token) == (300, TODAY, None)


def test_whom_a_token_is_of(service: Service) -> None:
    ci = User("github+acme/app", Kind.TOKEN, frozenset({"github+acme"}))
    for user in (alice, ci, ANONYMOUS):
        found = service.tokens.verify(service.token(user))
        assert (found.name, found.kind, found.groups, found.stamp) == (user.name, user.kind, user.groups, user.stamp)
        assert found.scope is not None
        assert [(grant.repositories, grant.actions) for grant in found.scope] == [
            ("team/app", frozenset({Action.PULL, Action.PUSH}))
        ]


def test_it_expires(service: Service) -> None:
    token = service.token()
    service.time.advance(299)
    service.tokens.verify(token)
    service.time.advance(1)
    with pytest.raises(BadCredentials, match="has expired"):
        service.tokens.verify(token)


def test_a_clock_that_was_set_back(service: Service) -> None:
    first, second = service.token(), service.token()
    service.time.day -= LEEWAY_SECONDS
    service.tokens.verify(first)
    service.time.day -= 2
    with pytest.raises(BadCredentials, match="of the future"):
        service.tokens.verify(second)


def test_it_is_good_no_longer_than_the_user(service: Service) -> None:
    short = User("robot+ci", Kind.ROBOT, expires=TODAY + 60, stamp="s")
    issued = service.tokens.issue(short, [], offline=True)
    assert issued.expires_in == 60
    service.time.advance(61)
    for token, use in ((issued.token, "access"), (issued.offline_token or "", "offline")):
        with pytest.raises(BadCredentials, match="has expired"):
            service.tokens.verify(token, "offline" if use == "offline" else "access")


def test_an_offline_token_is_good_for_nothing_else_and_nothing_else_for_it(service: Service) -> None:
    issued = service.tokens.issue(alice, [], offline=True)
    assert issued.offline_token
    service.time.advance(89 * 86400)
    assert service.tokens.verify(issued.offline_token, "offline").stamp == "s1"
    with pytest.raises(BadCredentials, match="for something else"):
        service.tokens.verify(issued.offline_token)
    with pytest.raises(BadCredentials, match="for something else"):
        service.tokens.verify(service.token(), "offline")


def test_after_a_restart_and_after_new_keys_what_was_issued_is_good(service: Service) -> None:
    kept = service.tokens.issue(alice, [], offline=True).offline_token
    assert kept
    service.time.advance(ROTATION_SECONDS + 1)
    service.threads.later = []
    old = service.token()  # and a new key is made behind it
    service.threads.finish()
    new = service.token()
    kid = [part(token.split(".")[0])["kid"] for token in (old, new)]
    assert kid[0] != kid[1]
    for tokens in (service.tokens, service.started()):
        tokens.verify(old)
        tokens.verify(new)
        tokens.verify(kept, "offline")
    # In the end the first key goes, and nothing that is good went with it.
    for _ in range(5):
        service.time.advance(ROTATION_SECONDS + 1)
        service.token()
    keys = json.loads(service.path.read_text())["keys"]
    assert kid[0] not in [key["kid"] for key in keys]
    assert len(keys) <= 5
    assert service.path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_is_full_keeps_the_key(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ipfsreg.access.signing_keys.write_durably", full)
    service.time.advance(ROTATION_SECONDS + 1)
    token = service.token()
    service.tokens.verify(token)
    assert part(token.split(".")[0])["kid"] == part(service.token().split(".")[0])["kid"]


def test_a_damaged_file_of_keys_is_said_in_one_line(service: Service) -> None:
    secret = json.loads(service.path.read_text())["keys"][0]["secret"]
    service.path.write_text(service.path.read_text().replace('"version"', '"vision"'))
    with pytest.raises(AccessFileError, match="is damaged; remove it") as raised:
        service.started()
    assert secret not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_another_registrys_tokens(service: Service, tmp_path: Path) -> None:
    token = service.token()
    with pytest.raises(BadCredentials, match="for something else"):
        service.started("other.example.org").verify(token)
    (tmp_path / "other").mkdir()
    with pytest.raises(BadCredentials, match="unknown key"):
        Service(tmp_path / "other").tokens.verify(token)


def test_no_other_algorithm_counts(service: Service) -> None:
    header, claims, signature = service.token().split(".")
    kid = part(header)["kid"]
    secret = json.loads(service.path.read_text())["keys"][0]["secret"]
    key = OctKey.import_key(urlsafe_b64decode(secret + "="))
    forged = [
        f"{as_part({'alg': alg, 'kid': kid})}.{claims}.{sig}"
        for alg in ("none", "None", "HS512", "RS256", "")
        for sig in ("", signature)
    ]
    forged.append(jwt.encode({"alg": "HS512", "kid": kid}, part(claims), key, algorithms=["HS512"]))
    forged.append(f"{as_part({'alg': 'HS256', 'kid': kid, 'b64': False, 'crit': ['b64']})}.{claims}.{signature}")
    for token in forged:
        with pytest.raises(BadCredentials):
            service.tokens.verify(token)


@pytest.mark.parametrize(
    "change",
    [
        {"exp": "never"},
        {"exp": 1e400},
        {"exp": True},
        {"kind": "god"},
        {"use": "any"},
        {"access": "all"},
        {"aud": ["registry.example.org"]},
        {"nbf": None},
    ],
    ids=str,
)
def test_what_is_signed_and_makes_no_sense(service: Service, change: dict[str, object]) -> None:
    header, claims, _ = service.token().split(".")
    secret = json.loads(service.path.read_text())["keys"][0]["secret"]
    key = OctKey.import_key(urlsafe_b64decode(secret + "="))
    token = jwt.encode(part(header), {**part(claims), **change}, key, algorithms=["HS256"])
    with pytest.raises(BadCredentials):
        service.tokens.verify(token)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """One for many examples."""
    return Service(tmp_path_factory.mktemp("keys"))


@settings(max_examples=examples(60, 300))
@given(st.data())
def test_whatever_is_changed_in_a_token_it_is_not_good(lasting: Service, data: st.DataObject) -> None:
    tokens = [lasting.token(), lasting.token(ANONYMOUS, ""), lasting.token(scope="registry:catalog:*")]
    token = data.draw(st.sampled_from(tokens))
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(
        st.one_of(
            st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.+/ \n"),
            st.text(max_size=2),
        )
    )
    changed = data.draw(
        st.sampled_from([token[:at] + other + token[at + 1 :], token[:at] + other + token[at:], token[:at]])
    )
    if changed != token:
        with pytest.raises(BadCredentials):
            lasting.tokens.verify(changed)


@given(
    st.one_of(
        st.text(max_size=100), st.builds(".".join, st.lists(st.text("eyJhbAx0=_-", max_size=9), min_size=3, max_size=3))
    )
)
def test_whatever_else_comes_is_not_good(lasting: Service, text: str) -> None:
    with pytest.raises(BadCredentials):
        lasting.tokens.verify(text)


def test_deep_and_long_ones_are_refused_at_once(service: Service) -> None:
    deep = urlsafe_b64encode(b"[" * 6000).rstrip(b"=").decode()
    for token in (f"{deep}.{deep[:300]}.x", f"{as_part({'kid': 'x'})}.{deep}.AA", "e" * 10**6, "." * 10**6):
        with pytest.raises(BadCredentials):
            service.tokens.verify(token)


def test_a_token_that_would_not_fit_into_a_header(service: Service) -> None:
    many = parse_scopes([f"repository:{'a' * 250}/{number}:pull" for number in range(64)])
    with pytest.raises(BadScope, match="too long"):
        service.tokens.issue(alice, [Granted(each, each.wanted) for each in many])
