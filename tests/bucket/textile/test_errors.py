"""What a server's refusals become: a test for each text in docs/protocols/textile.md, and for its traps."""

from email.utils import formatdate

import pytest
import pytest_twisted
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ipfsreg.bucket.errors import BucketError, Corrupt, Full, NotFound, Refused, Unavailable
from ipfsreg.bucket.textile.proto import bucketsd_pb2, threads_pb2, usersd_pb2
from ipfsreg.bucket.textile.server.client import BUCKETS, THREADS, USERS
from ipfsreg.bucket.textile.server.errors import (
    REFUSALS,
    ArchiveNotNeeded,
    ArchiveRefused,
    BucketFull,
    BucketGone,
    DirectoryFull,
    Gone,
    NeverArchived,
    SignatureRefused,
    StaleRoot,
    ThreadGone,
    TokenRefused,
    TooManyPaths,
    Undecryptable,
    Unimplemented,
    Unresolved,
    translate,
)
from ipfsreg.bucket.textile.server.signing import CallMetadata
from ipfsreg.grpcweb.errors import (
    CallCancelled,
    CallError,
    ConnectionBroken,
    DeadlineExceeded,
    GrpcError,
    MessageTooLarge,
    NotConnected,
    UnexpectedAnswer,
)
from ipfsreg.grpcweb.metadata import Metadata
from ipfsreg.grpcweb.status import GrpcStatus

from .double import TextileDouble
from .double.fixtures import textile_buckd, textile_hub
from .services import client_of, service_of

__all__ = ["textile_buckd", "textile_hub"]

CID = "bafybeibwmyzpfb4jnwqmx2wbu2bpzg2u6n2wnkmqgxqgvvmrcp4c5x4ype"
HEX = "ab" * 32


def refusal(code: int, text: str, trailers: Metadata | None = None) -> GrpcError:
    return GrpcError(GrpcStatus(code), text, Metadata() if trailers is None else trailers)


# Status, the server's text, what it becomes, and what the message must name.
TOO_LONG = "grpc: received message larger than max (4194400 vs. 4194304)"

TABLE = [
    # The order in which a hub decides: docs/protocols/textile.md, "Credentials".
    (7, "Method is not accessible", Refused, "wants [textile] key"),
    (7, "something", Refused, "does not allow"),
    (12, "unknown service api.usersd.pb.APIService", Unimplemented, "is a buckd"),
    (16, "Invalid session", Refused, "session"),
    (16, "Expired session", Refused, "session"),
    (5, "User not found", Refused, "account"),
    (7, "User is not an org member", Refused, "does not allow"),
    (5, "Org not found", Refused, "organisation"),
    (5, "API key not found or is invalid", Refused, "[textile] key"),
    (16, "API key signature required", Refused, "[textile] secret"),
    (16, "Bad API key signature", SignatureRefused, "[textile] secret"),
    (5, "Account not found", Refused, "[textile] key"),
    (16, "Token required", TokenRefused, "[textile] identity_file"),
    (7, "Bad authorization", TokenRefused, "[textile] identity_file"),
    (16, "Session or API key required", Refused, "[textile] key"),
    (16, "Bad authorization string", TokenRefused, "[textile] identity_file"),
    (16, "Request unauthenticated with bearer", TokenRefused, "[textile] identity_file"),
    (16, "anything else", Refused, "[textile] key"),
    (7, "User does not own thread", Refused, "[textile] key"),
    (7, "Bad API key", Refused, "[textile] key"),
    (2, "number of threads per owner exceeds quota", Refused, "threads"),
    (8, "network egress exhausted: quota reached", Refused, "traffic"),
    (2, "storage quota exhausted", Full, "storage"),
    # GetToken.
    (2, "bad signature", Refused, "[textile] identity_file"),
    # A token of another server's key, or of a database that is gone.
    (2, "invalid thread token", TokenRefused, "[textile] identity_file"),
    (2, "thread token not found", TokenRefused, "[textile] identity_file"),
    (4, "Challenge deadline exceeded", Unavailable, "deadline"),
    (3, "Key is required", Unavailable, "Key is required"),
    # 3: threads.
    (2, "db required", ThreadGone, "db required"),
    (5, "thread not found", ThreadGone, "thread not found"),
    (5, "db not found", ThreadGone, "db not found"),
    (5, "Thread not found", ThreadGone, "Thread not found"),
    (2, "mongo: no documents in result", ThreadGone, "mongo"),
    (2, "getting bucket: rpc error: code = NotFound desc = thread not found", ThreadGone, "thread not found"),
    (2, "db already exists", Unavailable, "already exists"),
    (2, 'E11000 duplicate key error collection: "threads"', Refused, "in other letters"),
    (2, "name may only contain alphanumeric characters or non-consecutive hyphens", Refused, "[textile] thread"),
    # 4: buckets.
    (2, "instance not found", BucketGone, "instance not found"),
    (2, "getting bucket: rpc error: code = Unknown desc = instance not found", BucketGone, "instance"),
    (9, "update is non-fast-forward", StaleRoot, "non-fast-forward"),
    (9, "another precondition", Unavailable, "another"),
    (2, "update bucket: app denied net record body: permission denied", Refused, "role"),
    (7, "verifying bucket update: permission denied", Refused, "role"),
    (2, "paths containing .textileseed are not allowed", Refused, ".textileseed"),
    (2, "max bucket size exceeded", BucketFull, "as large"),
    (2, "unmarshaling role public key: selected encoding not supported", Refused, "public key"),
    (2, "push bucket path header is required", Unavailable, "header"),
    (2, "writing chunk: io: read/write on closed pipe", Unavailable, "pipe"),
    (2, "message corrupt or incorrect password", Undecryptable, "decrypt"),
    (2, f'no link named "sha256:{HEX}" under {CID}', NotFound, HEX),
    (2, f'no link named "x" under Qm{"z" * 44}', NotFound, "x"),
    (2, f"could not resolve path: /ipfs/{CID}/blobs/x", NotFound, "blobs/x"),
    (2, f"remove node failed: could not resolve path: /ipfs/{CID}/blobs/x", NotFound, "blobs/x"),
    (2, "could not resolve path: team/app", Unresolved, "team/app"),
    (2, "could not resolve path: ", Unresolved, "resolve"),
    (2, "node is a directory", NotFound, "directory"),
    (2, "merkledag: not found", Unavailable, "merkledag"),
    (8, TOO_LONG, TooManyPaths, "too many paths"),
    (2, f"getting bucket: rpc error: code = ResourceExhausted desc = {TOO_LONG}", TooManyPaths, "too many paths"),
    (2, "adding file: produced block is over 1MiB: big blocks can't be exchanged", DirectoryFull, "entries"),
    # 4.7: archives.
    (2, "archiving feature is disabled", ArchiveRefused, "no Powergate"),
    (2, "archive size is too small, should be greater than: 64 MiB", ArchiveRefused, "64 MiB"),
    (2, "archive size is too big, should be less than: 32 GiB", ArchiveRefused, "32 GiB"),
    (2, "archive size is too big, should be less than: 0 GiB", ArchiveRefused, "buckd"),
    (2, "the same bucket cid is already archived successfully", ArchiveNotNeeded, "nothing has changed"),
    (2, "there is an in progress archive", ArchiveNotNeeded, "still being made"),
    (2, "wallet FIL balance is zero, if recently created wait 30s", ArchiveRefused, "wallet"),
    (2, "rep factor should be at most: 4", ArchiveRefused, "4"),
    (2, "the bucket was never archived", NeverArchived, "never archived"),
    # 1: the server's own library.
    (12, "unknown service api.usersd.pb.APIService", Unimplemented, "api.usersd.pb"),
    (12, "unknown method PushPaths for service api.bucketsd.pb.APIService", Unimplemented, "PushPaths"),
    (8, "some other quota", Refused, "quota"),
    (14, "http: invalid Read on closed Body", Unavailable, "closed Body"),
    (13, "unexpected EOF", Unavailable, "EOF"),
    (1, "context canceled", Unavailable, "canceled"),
    (4, "context deadline exceeded", Unavailable, "deadline"),
    (2, "", Unavailable, "UNKNOWN"),
]


@pytest.mark.parametrize(("code", "text", "meaning", "names"), TABLE, ids=[f"{row[0]} {row[1][:50]}" for row in TABLE])
def test_row(code: int, text: str, meaning: type[BucketError], names: str) -> None:
    error = translate(refusal(code, text), "PullPath")
    assert type(error) is meaning
    assert str(error).startswith("PullPath: ")
    assert names in str(error)
    # What the server said is there too, for whoever has to find out more; archives have their limits in it.
    assert text in str(error)


def test_every_row_is_tested() -> None:
    used = [REFUSALS.find(GrpcStatus(code), text, "List") for code, text, _, _ in TABLE]
    # These two have tests of their own: removals, and what is behind the server.
    others = [row for row in REFUSALS.rows if row.methods or row.meaning is Unavailable]
    assert len(others) == 2
    assert [row for row in REFUSALS.rows if row not in used and row not in others] == []


def test_the_base_classes_are_those_that_the_rest_relies_on() -> None:
    assert issubclass(ThreadGone, Gone)
    assert issubclass(BucketGone, Gone)
    for outage in (Gone, StaleRoot):
        assert issubclass(outage, Unavailable)
    for final in (SignatureRefused, TokenRefused, Unimplemented, ArchiveRefused):
        assert issubclass(final, Refused)
    for full in (BucketFull, TooManyPaths, DirectoryFull):
        assert issubclass(full, Full)
    assert issubclass(NeverArchived, ArchiveRefused)
    assert issubclass(ArchiveNotNeeded, ArchiveRefused)


def test_a_missing_path_of_a_public_bucket_is_absent_for_a_removal_only() -> None:
    error = refusal(2, "no link by that name")
    assert type(translate(error, "RemovePath")) is NotFound
    for method in ("PushPath", "PullPath", "ListPath", "SetPath"):
        assert type(translate(error, method)) is Unavailable


TRANSPORT: list[CallError] = [
    ConnectionBroken("the answer ended without a gRPC status"),
    NotConnected("Connection was refused by other side: 111: Connection refused"),
    UnexpectedAnswer("the server answers HTTP status 404", 404),
    UnexpectedAnswer("the server's answer has a content type that is not gRPC's"),
    MessageTooLarge("a message of 99999999 bytes"),
    DeadlineExceeded(60, idle=True),
    DeadlineExceeded(60, idle=False),
    CallCancelled(),
]


@pytest.mark.parametrize("error", TRANSPORT, ids=lambda error: type(error).__name__)
def test_a_broken_call_is_an_outage(error: CallError) -> None:
    translated = translate(error, "PullPath")
    assert type(translated) is Unavailable
    assert str(translated) == f"PullPath: {error}"


def test_trap_status_5_is_never_absence() -> None:
    for _, text, _, _ in TABLE:
        assert not isinstance(translate(refusal(5, text), "PullPath"), NotFound)


ABSENCES = ("no link named", "could not resolve path", "node is a directory", "no link by that name")

parts = st.one_of(
    st.sampled_from([text for _, text, _, _ in TABLE]),
    st.sampled_from(ABSENCES),
    st.sampled_from(["not found", "no such file or directory", "404", "ipfs: ", ": ", CID, "\n", "🐙"]),
    st.text(max_size=20),
)
texts = st.lists(parts, max_size=4).map("".join)


@given(st.sampled_from(GrpcStatus), texts, st.sampled_from(["PullPath", "RemovePath", "ListPath"]))
@example(GrpcStatus.UNKNOWN, "not found", "PullPath")
@example(GrpcStatus.NOT_FOUND, f'no link named "x" under {CID}', "PullPath")
@example(GrpcStatus.UNKNOWN, "could not resolve path: context deadline exceeded", "PullPath")
def test_nothing_but_the_known_texts_is_an_absence(code: GrpcStatus, text: str, what: str) -> None:
    assume(code is not GrpcStatus.OK)
    error = translate(refusal(code, text), what)
    assert isinstance(error, BucketError)
    if isinstance(error, NotFound):
        assert code is GrpcStatus.UNKNOWN
        assert any(known in text for known in ABSENCES)
    else:
        assert isinstance(error, Unavailable | Refused | Full | Corrupt)


@pytest.mark.parametrize(
    "text",
    [
        f"could not resolve path: /ipfs/{CID}/blobs/x: context deadline exceeded",
        f'resolving: no link named "x" under {CID}: context canceled',
        f"could not resolve path: /ipfs/{CID}: dial tcp 127.0.0.1:5001: connect: connection refused",
        f"could not resolve path: /ipfs/{CID}/x: read tcp 127.0.0.1:1: i/o timeout",
        f'could not resolve path: /ipfs/{CID}/x: Post "http://127.0.0.1:5001/api/v0/ls": EOF',
    ],
)
def test_an_outage_behind_the_server_is_no_absence_whatever_path_it_names(text: str) -> None:
    assert type(translate(refusal(2, text), "PullPath")) is Unavailable


def test_a_tag_named_like_an_outage_can_be_absent() -> None:
    for name in ("EOF", "i-o-timeout", "connection"):
        assert type(translate(refusal(2, f"could not resolve path: /ipfs/{CID}/_tags/{name}"), "PullPath")) is NotFound
        assert type(translate(refusal(2, f'no link named "{name}" under {CID}'), "PullPath")) is NotFound


@pytest.mark.parametrize("length", [9_000_000, 58_755_150, 2_605_630_051, 4_294_967_295])
def test_trap_lost_framing_is_no_full_bucket(length: int) -> None:
    # What a kept connection makes of a push: docs/protocols/grpc-web.md, "Streams by POST".
    error = translate(refusal(8, f"grpc: received message larger than max ({length} vs. 4194304)"), "PushPath")
    assert type(error) is Unavailable


def test_a_signature_with_a_clock() -> None:
    now = 1_900_000_000.0

    def explained(ahead: float | None) -> SignatureRefused:
        trailers = Metadata() if ahead is None else Metadata({"date": formatdate(now + ahead, usegmt=True)})
        error = translate(refusal(16, "Bad API key signature", trailers), "List", lifetime=60, clock=lambda: now)
        assert isinstance(error, SignatureRefused)
        return error

    assert "this machine's clock is 95 s behind the server's" in str(explained(95))
    assert "[textile] secret" not in str(explained(95))
    for ahead in (0, 30, -95):
        assert "[textile] secret is not the one of [textile] key" in str(explained(ahead))
        assert "clock" not in str(explained(ahead))
    # Not known: both are named.
    assert "[textile] secret" in str(explained(None))
    assert "clock is more than 60 s behind" in str(explained(None))


def test_a_servers_text_cannot_break_or_flood_the_log() -> None:
    text = str(translate(refusal(2, "x\r\n2026-11-24 forged line\x1b[31m" + "y" * 100_000), "List"))
    assert text.isprintable()
    assert len(text) < 500


def test_what_came_with_the_refusal_is_not_in_the_text() -> None:
    trailers = Metadata({"x-textile-api-key": "bsecretsecret"})
    for code, text, _, _ in TABLE:
        assert "bsecretsecret" not in str(translate(refusal(code, text, trailers), "List"))


# Against the double: what a server really sends, over the wire.


@pytest_twisted.ensureDeferred
async def test_refusals_of_a_hub(textile_hub: TextileDouble) -> None:
    key = textile_hub.accounts.add_key()
    thread = textile_hub.add_thread(key=key)
    bucket = textile_hub.add_bucket(thread)
    private = textile_hub.add_bucket(thread, "private", private=True)
    list_request = (BUCKETS, "List", bucketsd_pb2.ListRequest(), bucketsd_pb2.ListResponse)
    pull = bucketsd_pb2.PullPathRequest(path="blobs/x")
    async with client_of(textile_hub, CallMetadata("bunknown")) as client:
        with pytest.raises(Refused, match=r"\[textile\] key"):
            await client.unary(*list_request, thread=thread.id_string)
    async with client_of(textile_hub, CallMetadata(key.key, key.secret)) as client:
        with pytest.raises(ThreadGone):
            await client.unary(*list_request)
        with pytest.raises(ThreadGone):
            await client.unary(
                USERS, "GetThread", usersd_pb2.GetThreadRequest(name="none"), usersd_pb2.GetThreadResponse
            )
        with pytest.raises(Refused):
            await client.unary(THREADS, "ListDBs", threads_pb2.ListDBsRequest(), threads_pb2.ListDBsReply)
        for each in (bucket, private):
            pull.key = each.key
            with pytest.raises(NotFound):
                async for _ in service_of(client, each).answers(
                    "PullPath", pull, bucketsd_pb2.PullPathResponse, deadline=10
                ):
                    pass
        request = bucketsd_pb2.RootRequest(key="bafzbeiunknown")
        with pytest.raises(BucketGone):
            await service_of(client, bucket).call("Root", request, bucketsd_pb2.RootResponse)
        stale = bucketsd_pb2.RemovePathRequest(key=bucket.key, path="x", root=f"/ipfs/{CID}")
        with pytest.raises(StaleRoot):
            await service_of(client, bucket).call("RemovePath", stale, bucketsd_pb2.RemovePathResponse)
        for each in (bucket, private):
            missing = bucketsd_pb2.RemovePathRequest(key=each.key, path="x")
            with pytest.raises(NotFound):
                await service_of(client, each).call("RemovePath", missing, bucketsd_pb2.RemovePathResponse)


@pytest_twisted.ensureDeferred
async def test_refusals_of_a_buckd_and_an_outage(textile_buckd: TextileDouble) -> None:
    request = (USERS, "ListThreads", usersd_pb2.ListThreadsRequest(), usersd_pb2.ListThreadsResponse)
    async with client_of(textile_buckd, CallMetadata()) as client:
        with pytest.raises(Unimplemented):
            await client.unary(*request)
        await textile_buckd.go_away()
        with pytest.raises(Unavailable):
            await client.unary(*request)
