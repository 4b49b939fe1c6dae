"""Signatures of calls, against the official client's golden vector (docs/protocols/textile.md, "Credentials")."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.bucket.errors import Refused, SetupError
from ipfsreg.bucket.textile.proto import usersd_pb2
from ipfsreg.bucket.textile.server.client import USERS
from ipfsreg.bucket.textile.server.encoding import decode_multibase
from ipfsreg.bucket.textile.server.errors import SignatureRefused
from ipfsreg.bucket.textile.server.signing import CallMetadata, clock_skew, describe_skew, rfc3339, sign

from .double import TextileDouble
from .double.fixtures import textile_buckd, textile_hub
from .services import client_of

__all__ = ["textile_buckd", "textile_hub"]

CAPTURES = Path(__file__).parent / "double" / "captures"

KEY = "bkeyexample"
SECRET = "bmjrgy3dfozzxuzlwnqyytmnsgezdgnbvgy3to"
THREAD = "bafkqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqoby"
EXPIRY = datetime(2031, 2, 3, 4, 5, 6, 789_000, UTC)


def golden_metadata(token: str | None = None) -> CallMetadata:
    now = (EXPIRY - timedelta(seconds=1800)).timestamp()
    return CallMetadata(KEY, SECRET, token, clock=lambda: now + 1e-4)


def captured_metadata(capture: str, exchange: int) -> dict[str, str]:
    """What the official client sent with a call, but for what belongs to the transport."""
    found = json.loads((CAPTURES / f"{capture}.json").read_text())
    lines = found["exchanges"][exchange]["clientFrames"][0]["ascii"].splitlines()
    fields = dict(line.split(": ", 1) for line in lines)
    return {name: value for name, value in fields.items() if name not in ("host", "content-type", "x-grpc-web")}


def test_golden_signature() -> None:
    assert sign(decode_multibase(SECRET), "2031-02-03T04:05:06.789Z") == (
        "bql5vlfvtlwakuxfomfhpowlbxoepugmix5h56d6fs2sex2oqxu6q"
    )


@pytest.mark.parametrize("client", ["textile-410", "textile-634"])
def test_the_same_metadata_as_the_official_client(client: str) -> None:
    metadata = golden_metadata()
    assert metadata() == captured_metadata(f"{client}-getOrCreate-new-thread", 0)
    assert metadata(THREAD) == captured_metadata(f"{client}-pullPath", 0)
    new_thread = captured_metadata(f"{client}-getOrCreate-new-thread", 1)
    assert metadata("", new_thread["x-textile-thread-name"]) == new_thread


@pytest.mark.parametrize("client", ["textile-410", "textile-634"])
def test_a_key_without_secret_sends_no_signature(client: str) -> None:
    assert (
        CallMetadata(KEY)() == captured_metadata(f"{client}-getOrCreate-insecure-key", 0) == {"x-textile-api-key": KEY}
    )


@pytest.mark.parametrize("client", ["textile-410", "textile-634"])
def test_a_buckd_is_told_nothing_but_the_thread(client: str) -> None:
    assert CallMetadata()() == captured_metadata(f"{client}-local-no-keys-listDBs", 0) == {}
    assert CallMetadata("", SECRET)(THREAD) == {"x-textile-thread": THREAD}
    assert not CallMetadata("", SECRET).has_key


def test_a_token_goes_along_as_bearer() -> None:
    metadata = golden_metadata(token="aaa.bbb.ccc\n")
    assert metadata.has_token
    assert metadata()["authorization"] == "bearer aaa.bbb.ccc"
    metadata.set_token(None)
    assert "authorization" not in metadata()
    assert CallMetadata(token="aaa.bbb.ccc")() == {"authorization": "bearer aaa.bbb.ccc"}


def test_each_call_has_a_fresh_expiry() -> None:
    now = [1000.0]
    metadata = CallMetadata(KEY, SECRET, lifetime=60, clock=lambda: now[0])
    assert metadata()["x-textile-api-sig-msg"] == "1970-01-01T00:17:40.000Z"
    first = metadata()["x-textile-api-sig"]
    now[0] += 3600
    assert metadata()["x-textile-api-sig-msg"] == "1970-01-01T01:17:40.000Z"
    assert metadata()["x-textile-api-sig"] != first


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))
def test_the_time_is_rfc_3339_and_never_later(when: datetime) -> None:
    seconds = when.replace(tzinfo=UTC).timestamp()
    text = rfc3339(seconds)
    assert text.endswith("Z")
    assert len(text) == 24
    read = datetime.fromisoformat(text)
    assert timedelta(0) <= datetime.fromtimestamp(seconds, UTC) - read < timedelta(milliseconds=1)


@pytest.mark.parametrize("secret", ["hello", "xyz!", "b", "geheim", "b0189", "zażółć"])
def test_a_bad_secret_is_named_and_not_shown(secret: str) -> None:
    with pytest.raises(SetupError) as caught:
        CallMetadata(KEY, secret)
    assert "[textile] secret" in str(caught.value)
    assert len(secret) < 2 or secret not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"key": "ab cd"}, "[textile] key"),
        ({"key": "ab\r\nx-evil: 1"}, "[textile] key"),
        ({"key": "clé"}, "[textile] key"),
        ({"key": KEY, "token": "a b"}, "the token"),
    ],
)
def test_what_cannot_be_sent_is_named_and_not_shown(arguments: dict[str, str], name: str) -> None:
    with pytest.raises(SetupError) as caught:
        CallMetadata(**arguments)  # type: ignore[arg-type]
    assert str(caught.value).startswith(name)
    assert list(arguments.values())[-1] not in str(caught.value)


def test_blanks_around_what_a_file_holds_do_not_matter() -> None:
    now = EXPIRY.timestamp()
    assert (
        CallMetadata(f"{KEY}\n", f" {SECRET}\n", clock=lambda: now)() == CallMetadata(KEY, SECRET, clock=lambda: now)()
    )


def test_no_secret_is_shown() -> None:
    metadata = CallMetadata(KEY, SECRET, "aaa.bbb.ccc")
    for text in (repr(metadata), str(metadata)):
        assert text == "<CallMetadata with key, secret, token>"
    assert repr(CallMetadata()) == "<CallMetadata with nothing>"


@given(st.integers(0, 4_000_000_000), st.integers(-100_000, 100_000))
def test_the_servers_clock_from_its_date(now: int, ahead: int) -> None:
    if now + ahead < 0:
        return
    assert clock_skew(formatdate(now + ahead, usegmt=True), now) == ahead


@pytest.mark.parametrize("date", [None, "", "yesterday", "Tue, 99 Nov 2026 25:61:61 GMT"])
def test_no_date_no_clock(date: str | None) -> None:
    assert clock_skew(date, 0.0) is None


def test_the_difference_in_words() -> None:
    assert describe_skew(95.4) == "this machine's clock is 95 s behind the server's"
    assert describe_skew(-7.0) == "this machine's clock is 7 s ahead of the server's"


# Against the double.


async def list_threads(double: TextileDouble, metadata: CallMetadata) -> None:
    async with client_of(double, metadata) as client:
        await client.unary(USERS, "ListThreads", usersd_pb2.ListThreadsRequest(), usersd_pb2.ListThreadsResponse)


@pytest_twisted.ensureDeferred
async def test_account_keys_with_and_without_signature(textile_hub: TextileDouble) -> None:
    secure = textile_hub.accounts.add_key()
    plain = textile_hub.accounts.add_key(secure=False)
    await list_threads(textile_hub, CallMetadata(secure.key, secure.secret))
    await list_threads(textile_hub, CallMetadata(plain.key))
    await list_threads(textile_hub, CallMetadata(plain.key, plain.secret))
    with pytest.raises(Refused, match=r"\[textile\] secret"):
        await list_threads(textile_hub, CallMetadata(secure.key))
    with pytest.raises(Refused, match=r"\[textile\] key"):
        await list_threads(textile_hub, CallMetadata())


@pytest_twisted.ensureDeferred
async def test_a_wrong_secret_is_not_blamed_on_the_clock(textile_hub: TextileDouble) -> None:
    key = textile_hub.accounts.add_key()
    with pytest.raises(SignatureRefused, match=r"\[textile\] secret is not the one of \[textile\] key") as caught:
        await list_threads(textile_hub, CallMetadata(key.key, SECRET))
    assert SECRET not in str(caught.value)
    assert key.key not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_behind_is_named(textile_hub: TextileDouble) -> None:
    key = textile_hub.accounts.add_key()
    textile_hub.faults.clock_offset = 95
    await list_threads(textile_hub, CallMetadata(key.key, key.secret))  # within what a signature allows for
    textile_hub.faults.clock_offset = 7200
    with pytest.raises(SignatureRefused, match=r"this machine's clock is (7199|7200) s behind the server's"):
        await list_threads(textile_hub, CallMetadata(key.key, key.secret))
    textile_hub.faults.clock_offset = -7200
    await list_threads(textile_hub, CallMetadata(key.key, key.secret))
