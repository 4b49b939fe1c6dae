"""Who is let in by the double, what they own, and how they get a token.

See docs/protocols/textile.md, "Credentials" and "Threads".
"""

import hmac
from datetime import UTC, datetime, timedelta

import pytest
import pytest_twisted
from nacl.signing import SigningKey

from ipfsreg.bucket.textile.proto import bucketsd_pb2, threads_pb2, usersd_pb2
from tests.grpcweb_double.peer import Answer, call, open_call, pause

from .double import Limits, TextileDouble
from .double.accounts import ApiKey
from .double.fixtures import metadata_of, textile_buckd, textile_hub
from .double.identity import decode_multibase, new_thread_id, public_key_string, to_base32

__all__ = ["textile_buckd", "textile_hub"]

BUCKETS = "/api.bucketsd.pb.APIService"
USERS = "/api.usersd.pb.APIService"
THREADS = "/threads.pb.API"


async def list_threads(double: TextileDouble, metadata: dict[str, str]) -> Answer:
    return await call(double.port, f"{USERS}/ListThreads", metadata, usersd_pb2.ListThreadsRequest())


def signed(key: ApiKey, message: str) -> dict[str, str]:
    signature = hmac.digest(decode_multibase(key.secret), message.encode(), "sha256")
    return {
        "x-textile-api-key": key.key,
        "x-textile-api-sig-msg": message,
        "x-textile-api-sig": to_base32(signature),
    }


def at(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%f}Z"


@pytest_twisted.ensureDeferred
async def test_golden_signature(textile_hub: TextileDouble) -> None:
    textile_hub.accounts.add_key(key="bkeyexample", secret="bmjrgy3dfozzxuzlwnqyytmnsgezdgnbvgy3to")
    metadata = {
        "x-textile-api-key": "bkeyexample",
        "x-textile-api-sig-msg": "2031-02-03T04:05:06.789Z",
        "x-textile-api-sig": "bql5vlfvtlwakuxfomfhpowlbxoepugmix5h56d6fs2sex2oqxu6q",
    }
    # The tests' own way to sign makes the same of it.
    assert signed(textile_hub.accounts.api_keys["bkeyexample"], "2031-02-03T04:05:06.789Z") == metadata
    answer = await list_threads(textile_hub, metadata)
    in_time = datetime.now(UTC) < datetime(2031, 2, 3, tzinfo=UTC)
    assert answer.status == (0 if in_time else 16)


@pytest_twisted.ensureDeferred
async def test_expiry_has_no_tolerance_and_the_clock_is_the_servers(textile_hub: TextileDouble) -> None:
    key = textile_hub.accounts.add_key()
    for message, offset, status in [
        (at(60), 0, 0),
        (at(-0.001), 0, 16),
        (at(60), 61, 16),
        (at(-60), -61, 0),
        (at(60).replace(".", "000000."), 0, 16),
        (at(60).replace("T", " "), 0, 16),
        (f"{datetime.now(UTC) + timedelta(hours=3):%Y-%m-%dT%H:%M:%S}+02:00", 0, 0),
        (f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}+02:00", 0, 16),
    ]:
        textile_hub.faults.clock_offset = offset
        answer = await list_threads(textile_hub, signed(key, message))
        expected = "" if status == 0 else "Bad API key signature"
        assert (answer.status, answer.text) == (status, expected), message


@pytest_twisted.ensureDeferred
async def test_refusals_come_in_the_hubs_order(textile_hub: TextileDouble) -> None:
    accounts = textile_hub.accounts
    secure, open_key, users = (
        accounts.add_key(),
        accounts.add_key(secure=False),
        accounts.add_key(secure=False, for_users=True),
    )
    invalid, orphan = accounts.add_key(), accounts.add_key(secure=False)
    invalid.valid, orphan.owner.gone = False, True
    session, expired = accounts.add_session(open_key.owner), accounts.add_session(open_key.owner)
    accounts.sessions[expired].expired = True
    good, bad = signed(secure, at(60)), signed(secure, at(60))
    bad["x-textile-api-sig"] = to_base32(bytes(32))
    only = {"x-textile-api-key": users.key}
    for metadata, status, text in [
        ({}, 16, "Session or API key required"),
        ({"x-textile-session": "bnone"}, 16, "Invalid session"),
        ({"x-textile-session": expired}, 16, "Expired session"),
        ({"x-textile-session": session, "x-textile-org": "o"}, 5, "Org not found"),
        ({"x-textile-session": session, "x-textile-api-key": "bnone"}, 0, ""),
        ({"x-textile-api-key": "bnone"}, 5, "API key not found or is invalid"),
        (signed(invalid, at(60)), 5, "API key not found or is invalid"),
        ({"x-textile-api-key": secure.key}, 16, "API key signature required"),
        (good | {"x-textile-api-sig": "?"}, 16, "API key signature required"),
        (bad, 16, "Bad API key signature"),
        (good, 0, ""),
        ({"x-textile-api-key": open_key.key}, 0, ""),
        (good | {"x-textile-api-key": open_key.key}, 0, ""),
        ({"x-textile-api-key": orphan.key}, 5, "Account not found"),
        (only, 16, "Token required"),
        (only | {"authorization": "token"}, 16, "Bad authorization string"),
        (only | {"authorization": "basic x"}, 16, "Request unauthenticated with bearer"),
        (only | {"authorization": "bearer x.y.z"}, 7, "Bad authorization"),
    ]:
        answer = await list_threads(textile_hub, metadata)
        assert (answer.status, answer.text) == (status, text), metadata
    answer = await call(textile_hub.port, f"{THREADS}/ListDBs", {}, threads_pb2.ListDBsRequest())
    assert (answer.status, answer.text) == (7, "Method is not accessible")


@pytest_twisted.ensureDeferred
async def test_stream_is_refused_before_its_first_message(textile_hub: TextileDouble) -> None:
    websocket = await open_call(textile_hub.port, f"{BUCKETS}/PushPath", {"x-textile-api-key": "bnone"})
    await websocket.until_closed()
    assert websocket.answer().status == 5


async def get_token(double: TextileDouble, metadata: dict[str, str], key: SigningKey) -> Answer:
    websocket = await open_call(double.port, f"{THREADS}/GetToken", metadata)
    websocket.send_message(threads_pb2.GetTokenRequest(key=public_key_string(key.verify_key)))
    await websocket.until(lambda: len(websocket.answer().messages) == 1)
    challenge = threads_pb2.GetTokenReply.FromString(websocket.answer().messages[0]).challenge
    assert len(challenge) == 32
    websocket.send_message(threads_pb2.GetTokenRequest(signature=key.sign(challenge).signature))
    websocket.finish()
    await websocket.until_closed()
    return websocket.answer()


@pytest_twisted.ensureDeferred
async def test_user_gets_a_token_and_owns_what_they_make(textile_hub: TextileDouble) -> None:
    key = textile_hub.accounts.add_key(for_users=True)
    identity, other = SigningKey.generate(), SigningKey.generate()
    answer = await get_token(textile_hub, metadata_of(key), identity)
    assert answer.status == 0
    token = threads_pb2.GetTokenReply.FromString(answer.messages[1]).token
    assert len(token.split(".")) == 3
    thread_id = new_thread_id()
    metadata = metadata_of(key, token=token) | {"x-textile-thread-name": "mine"}
    request = threads_pb2.NewDBRequest(db_id=thread_id, name="ignored")
    assert (await call(textile_hub.port, f"{THREADS}/NewDB", metadata, request)).status == 0
    found = await call(textile_hub.port, f"{USERS}/GetThread", metadata, usersd_pb2.GetThreadRequest(name="mine"))
    assert found.read(usersd_pb2.GetThreadResponse).id == thread_id
    thread = to_base32(thread_id)
    created = await call(
        textile_hub.port,
        f"{BUCKETS}/Create",
        metadata_of(key, thread, token),
        bucketsd_pb2.CreateRequest(name="b"),
    )
    assert created.read(bucketsd_pb2.CreateResponse).root.owner == public_key_string(identity.verify_key)

    second = threads_pb2.GetTokenReply.FromString(
        (await get_token(textile_hub, metadata_of(key), other)).messages[1]
    ).token
    answer = await call(
        textile_hub.port, f"{BUCKETS}/List", metadata_of(key, thread, second), bucketsd_pb2.ListRequest()
    )
    assert (answer.status, answer.text) == (7, "User does not own thread")
    another_key = textile_hub.accounts.add_key(for_users=True)
    answer = await call(
        textile_hub.port,
        f"{BUCKETS}/List",
        metadata_of(another_key, thread, token),
        bucketsd_pb2.ListRequest(),
    )
    assert (answer.status, answer.text) == (7, "Bad API key")


@pytest_twisted.ensureDeferred
async def test_token_is_refused_for_a_wrong_signature_or_silence() -> None:
    double = TextileDouble(hub=False, limits=Limits(challenge_seconds=0.05)).start()
    key, other = SigningKey.generate(), SigningKey.generate()
    public = threads_pb2.GetTokenRequest(key=public_key_string(key.verify_key))
    wrong = threads_pb2.GetTokenRequest(signature=other.sign(b"x").signature)
    for messages, status, text in [
        ((public, wrong), 2, "bad signature"),
        ((public, public), 3, "Signature is required"),
        ((wrong,), 3, "Key is required"),
    ]:
        answer = await call(double.port, f"{THREADS}/GetToken", {}, *messages)
        assert (answer.status, answer.text) == (status, text)
    websocket = await open_call(double.port, f"{THREADS}/GetToken", {})
    websocket.send_message(public)
    await websocket.until_closed()
    assert (websocket.answer().status, websocket.answer().text) == (4, "Challenge deadline exceeded")
    await double.stop()


# Threads.


async def new_db(double: TextileDouble, metadata: dict[str, str], thread_id: bytes, name: str) -> Answer:
    request = threads_pb2.NewDBRequest(db_id=thread_id, name=name)
    return await call(double.port, f"{THREADS}/NewDB", metadata, request)


@pytest_twisted.ensureDeferred
async def test_names_of_threads_are_unique_on_a_hub_only(
    textile_hub: TextileDouble, textile_buckd: TextileDouble
) -> None:
    metadata = metadata_of(textile_hub.accounts.add_key())
    named = metadata | {"x-textile-thread-name": "buckets"}
    assert (await new_db(textile_hub, named, new_thread_id(), "x")).status == 0
    answer = await new_db(textile_hub, metadata | {"x-textile-thread-name": "Buckets"}, new_thread_id(), "x")
    assert answer.status == 2
    assert answer.text.startswith("E11000 duplicate key error")
    answer = await call(textile_hub.port, f"{USERS}/GetThread", metadata, usersd_pb2.GetThreadRequest(name="Buckets"))
    assert (answer.status, answer.text) == (5, "Thread not found")
    stranger = metadata_of(textile_hub.accounts.add_key()) | {"x-textile-thread-name": "buckets"}
    assert (await new_db(textile_hub, stranger, new_thread_id(), "x")).status == 0

    for _ in range(2):
        assert (await new_db(textile_buckd, named, new_thread_id(), "same")).status == 0
    assert [thread.name for thread in textile_buckd.threads.by_id.values()] == ["same", "same"]


@pytest_twisted.ensureDeferred
async def test_databases_of_a_buckd_are_listed_in_random_order(textile_buckd: TextileDouble) -> None:
    ids = {new_thread_id() for _ in range(8)}
    for thread_id in ids:
        assert (await new_db(textile_buckd, {}, thread_id, "")).status == 0
    orders = set()
    for _ in range(20):
        answer = await call(textile_buckd.port, f"{THREADS}/ListDBs", {}, threads_pb2.ListDBsRequest())
        dbs = answer.read(threads_pb2.ListDBsReply).dbs
        assert {db.db_id for db in dbs} == ids
        assert {(db.info.name, len(db.info.key)) for db in dbs} == {("unnamed", 64)}
        orders.add(tuple(db.db_id for db in dbs))
    assert len(orders) > 1


@pytest.mark.parametrize(
    ("thread_id", "name", "status", "text"),
    [
        (b"", "x", 3, "too short"),
        (b"\x02\x55\x01", "x", 3, "version"),
        (b"\x01\x56\x01", "x", 3, "variant"),
        (b"\x01\x55\x01", "a--b", 2, "alphanumeric"),
        (b"\x01\x55\x01", "-a", 2, "alphanumeric"),
        (b"\x01\x70\x01", "a-b", 0, ""),
    ],
)
@pytest_twisted.ensureDeferred
async def test_new_database_is_checked(
    textile_buckd: TextileDouble, thread_id: bytes, name: str, status: int, text: str
) -> None:
    answer = await new_db(textile_buckd, {}, thread_id, name)
    assert answer.status == status
    assert text in answer.text
    if not status:
        again = await new_db(textile_buckd, {}, thread_id, name)
        assert (again.status, again.text) == (2, "db already exists")


@pytest_twisted.ensureDeferred
async def test_number_of_threads_is_limited_on_a_hub() -> None:
    double = TextileDouble(hub=True, limits=Limits(threads_per_owner=2)).start()
    metadata = metadata_of(double.accounts.add_key())
    answers = [
        await new_db(double, metadata | {"x-textile-thread-name": f"t{number}"}, new_thread_id(), "")
        for number in range(3)
    ]
    assert [answer.status for answer in answers] == [0, 0, 2]
    assert answers[2].text == "number of threads per owner exceeds quota"
    await double.stop()


@pytest.mark.parametrize("thread", [None, "0", "bgarbage", "not multibase at all"])
@pytest_twisted.ensureDeferred
async def test_bad_thread_header_is_dropped_silently(textile_buckd: TextileDouble, thread: str | None) -> None:
    metadata = {} if thread is None else {"x-textile-thread": thread}
    answer = await call(textile_buckd.port, f"{BUCKETS}/List", metadata, bucketsd_pb2.ListRequest())
    assert (answer.status, answer.text) == (2, "db required")


@pytest_twisted.ensureDeferred
async def test_unknown_thread_is_not_found(textile_buckd: TextileDouble) -> None:
    metadata = {"x-textile-thread": to_base32(new_thread_id())}
    answer = await call(textile_buckd.port, f"{BUCKETS}/List", metadata, bucketsd_pb2.ListRequest())
    assert (answer.status, answer.text) == (5, "thread not found")


@pytest_twisted.ensureDeferred
async def test_secrets_are_not_in_representations(textile_hub: TextileDouble) -> None:
    key = textile_hub.accounts.add_key()
    await list_threads(textile_hub, metadata_of(key))
    await pause(0)
    assert key.secret not in repr(key)
    assert key.key not in repr(textile_hub.calls.calls[0])
