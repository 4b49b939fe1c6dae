"""The double's tokens, key pairs, buckets, waiting and hub (docs/protocols/space.md, "Access" and "Buckets")."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from ipfsreg.bucket.space.proto import space_pb2
from tests.grpcweb_double.peer import eventually

from .double import Patience, SpaceDouble
from .double.fixtures import new_space_daemon, space_daemon
from .double.keys import KeyPair
from .double.peer import ask, get

__all__ = ["new_space_daemon", "space_daemon"]

TOO_SLOW = "textile client not initialized in expected time"


async def refusal(double: SpaceDouble, method: str, **fields: Any) -> tuple[int | None, str]:
    answer = await ask(double, method, **fields)
    assert answer.messages == []
    return answer.status, answer.text


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (None, "Request unauthenticated with AppToken"),
        ("AppToken", "Bad authorization string"),
        ("Bearer {key}.{secret}", "Request unauthenticated with AppToken"),
        ("AppToken {key}{secret}", "invalid auth token: invalid token format"),
        ("AppToken x{key}.{secret}", "invalid auth token: The specified item could not be found in the keyring"),
        ("AppToken  {key}.{secret}", "invalid auth token: The specified item could not be found in the keyring"),
        ("AppToken {key}.x", "invalid auth token: app token secret does not match"),
        ("apptoken {key}.{secret}", ""),
        ("AppToken {key}.{secret}.more", ""),
    ],
)
@pytest.mark.parametrize("method", ["ListBuckets", "AddItems"])
@pytest_twisted.ensureDeferred
async def test_who_may_call(space_daemon: SpaceDouble, method: str, header: str | None, text: str) -> None:
    token = space_daemon.world.token
    assert token is not None
    metadata = {} if header is None else {"authorization": header.format(key=token.key, secret=token.secret)}
    answer = await ask(space_daemon, method, metadata)
    assert (answer.status, answer.text) == ((16, text) if text else (0, ""))


def test_token_and_words_are_not_in_a_repr(space_daemon: SpaceDouble) -> None:
    token, pair = space_daemon.world.token, space_daemon.account.pair
    assert token is not None
    assert token.secret not in repr(token)
    assert pair.mnemonic not in repr(pair)


def test_same_words_make_the_same_key() -> None:
    pair = KeyPair.generate()
    assert KeyPair(pair.mnemonic).public_key == pair.public_key != KeyPair.generate().public_key
    assert len(bytes.fromhex(pair.public_key)) == 32


@pytest_twisted.ensureDeferred
async def test_first_day(new_space_daemon: SpaceDouble) -> None:
    double = new_space_daemon
    double.world.patience = Patience(initialised=0.02)
    answer = await ask(double, "InitializeMasterAppToken", {})
    token = answer.read(space_pb2.InitializeMasterAppTokenResponse).appToken
    assert token == double.token
    assert [len(part) for part in token.split(".")] == [27, 40]
    assert await refusal(double, "InitializeMasterAppToken") == (2, "master app token already exists")
    assert await refusal(double, "GetPublicKey") == (2, "No key pair found in the local db.")
    assert await refusal(double, "ListBuckets") == (2, TOO_SLOW)
    mnemonic = (await get(double, "GenerateKeyPair")).mnemonic
    assert KeyPair(mnemonic).public_key == (await get(double, "GetPublicKey")).publicKey
    assert await refusal(double, "GenerateKeyPair") == (
        2,
        "Error while executing GenerateKeyFromMnemonic. Key pair already exists.",
    )
    assert [bucket.name for bucket in (await get(double, "ListBuckets")).buckets] == ["personal"]


@pytest_twisted.ensureDeferred
async def test_new_key_pair_puts_all_buckets_out_of_reach(space_daemon: SpaceDouble) -> None:
    space_daemon.put_files({"a": b"1"})
    old = space_daemon.account
    await get(space_daemon, "GenerateKeyPairWithForce")
    assert space_daemon.account is not old
    assert await refusal(space_daemon, "OpenFile", path="a", bucket="ddocker") == (2, "bucket ddocker not found")
    bucket = (await get(space_daemon, "CreateBucket", slug="ddocker")).bucket
    assert space_daemon.files() == {}
    assert bucket.key not in [known.key for known in space_daemon.world.buckets.list(old.records["ddocker"].thread)]


@pytest_twisted.ensureDeferred
async def test_bucket_is_made_once(space_daemon: SpaceDouble) -> None:
    first = (await get(space_daemon, "CreateBucket", slug="other")).bucket
    space_daemon.put_files({"a": b"1"}, "other")
    again = (await get(space_daemon, "CreateBucket", slug="other")).bucket
    assert (again.key, again.name, again.itemsCount) == (first.key, "other", first.itemsCount + 1)
    assert again.path != first.path
    assert 0 < first.createdAt == again.createdAt < again.updatedAt


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("AddItems", {"sourcePaths": ["/"]}),
        ("OpenFile", {"path": "a"}),
        ("ListDirectory", {"path": "a"}),
        ("ListDirectories", {}),
        ("CreateFolder", {"path": "a"}),
        ("RemoveDirOrFile", {"path": "a"}),
        ("ShareBucket", {}),
        ("GeneratePublicFileLink", {"itemPaths": ["a"]}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_unknown_bucket_leaves_junk(space_daemon: SpaceDouble, method: str, fields: dict[str, Any]) -> None:
    for _ in range(2):
        assert await refusal(space_daemon, method, bucket="typo", **fields) == (2, "bucket typo not found")
    assert space_daemon.junk() == ["typo"]
    thread = space_daemon.record("typo").thread
    # The record spoils the list of all buckets, until the bucket is there.
    assert await refusal(space_daemon, "ListBuckets") == (2, "bucket typo not found")
    await get(space_daemon, "CreateBucket", slug="typo")
    assert space_daemon.junk() == []
    assert space_daemon.record("typo").thread == thread
    assert len((await get(space_daemon, "ListBuckets")).buckets) == 3


@pytest_twisted.ensureDeferred
async def test_backup_of_an_unknown_bucket_leaves_none(space_daemon: SpaceDouble) -> None:
    assert await refusal(space_daemon, "ToggleBucketBackup", bucket="typo", backup=True) == (2, "Bucket not found")
    assert space_daemon.junk() == []


@pytest_twisted.ensureDeferred
async def test_calls_wait_for_a_slow_start(space_daemon: SpaceDouble) -> None:
    space_daemon.world.started = False
    waiting = [
        Deferred.fromCoroutine(ask(space_daemon, method, bucket="ddocker"))
        for method in ("ListDirectory", "ShareBucket")
    ]
    await eventually(lambda: len(space_daemon.calls.running()) == 2)
    space_daemon.reactor.callLater(0.05, setattr, space_daemon.world, "started", True)
    assert [(await answer).status for answer in waiting] == [0, 0]
    space_daemon.world.started = False
    space_daemon.world.patience.initialised = 0.02
    for method in ("ListBuckets", "AddItems", "ShareBucket"):
        assert await refusal(space_daemon, method) == (2, TOO_SLOW)
    # What needs no bucket is answered all the same.
    assert (await get(space_daemon, "GetPublicKey")).publicKey == space_daemon.account.public_key


@pytest_twisted.ensureDeferred
async def test_without_the_hub(space_daemon: SpaceDouble) -> None:
    space_daemon.put_files({"a": b"1"})
    space_daemon.world.hub = False
    space_daemon.world.patience.hub = 0.02
    for method in ("ShareBucket", "ToggleBucketBackup", "BucketBackupRestore"):
        assert await refusal(space_daemon, method, bucket="ddocker") == (
            2,
            "textile client not initialized after 3 attempts",
        )
    status, text = await refusal(space_daemon, "GeneratePublicFileLink", bucket="ddocker", itemPaths=["a"])
    assert (status, text.partition(": ")[0]) == (2, "failed to get public files bucket")
    assert (await get(space_daemon, "OpenFile", path="a", bucket="ddocker")).location
    space_daemon.world.hub, space_daemon.world.hub_address = True, ""
    assert await refusal(space_daemon, "ShareBucket", bucket="ddocker") == (2, "no textile hub set")


@pytest_twisted.ensureDeferred
async def test_links_and_usage(space_daemon: SpaceDouble) -> None:
    space_daemon.put_files({"a": b"1", "b": b"2"})
    assert await refusal(space_daemon, "GeneratePublicFileLink", bucket="ddocker") == (
        2,
        "no file passed to share link",
    )
    link = await get(space_daemon, "GeneratePublicFileLink", bucket="ddocker", itemPaths=["a", "b"], password="pw")
    assert link.link.endswith(f".zip&hash={link.fileCid}")
    status, text = await refusal(space_daemon, "GeneratePublicFileLink", bucket="ddocker", itemPaths=["none"])
    assert (status, text.startswith("no link named")) == (2, True)
    assert await refusal(space_daemon, "GetUsageInfo") == (2, "Not implemented")


@pytest_twisted.ensureDeferred
async def test_what_was_removed_comes_back_with_a_restore(space_daemon: SpaceDouble, tmp_path: Any) -> None:
    async def add(name: str) -> None:
        (tmp_path / name).write_text(name)
        answer = await ask(space_daemon, "AddItems", sourcePaths=[str(tmp_path / name)], bucket="ddocker")
        assert answer.status == 0

    await add("before")
    await get(space_daemon, "ToggleBucketBackup", bucket="ddocker", backup=True)
    await add("a")
    listed = (await get(space_daemon, "ListDirectory", bucket="ddocker", omitMembers=True)).entries
    assert {entry.name: entry.backupCount for entry in listed} == {"before": 0, "a": 1}
    for name in ("before", "a"):
        await get(space_daemon, "RemoveDirOrFile", path=name, bucket="ddocker")
    assert space_daemon.files() == {}
    await get(space_daemon, "BucketBackupRestore", bucket="ddocker")
    assert {path: space_daemon.read(path) for path in space_daemon.files()} == {"a": b"a"}
    # Neither the bucket nor its backup is told by the bucket itself.
    bucket = (await get(space_daemon, "CreateBucket", slug="ddocker")).bucket
    assert (bucket.isBackupEnabled, bucket.isPersonalBucket, len(bucket.members)) == (False, False, 0)


@pytest_twisted.ensureDeferred
async def test_listing_takes_its_time(space_daemon: SpaceDouble) -> None:
    space_daemon.put_files({"a": b"1", "b": b"2", "d/c": b"3"})
    space_daemon.faults.entry_seconds = 0.03
    clock = space_daemon.reactor
    started = clock.seconds()
    await get(space_daemon, "ListDirectory", bucket="ddocker", omitMembers=True)
    assert clock.seconds() - started >= 0.06
    space_daemon.faults.member_seconds = 0.03
    started = clock.seconds()
    await get(space_daemon, "ListDirectory", bucket="ddocker")
    assert clock.seconds() - started >= 0.15
