"""The official JavaScript clients work with the double, which so can't share a mistake with our client."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
import pytest_twisted

from tests.full import FULL

from .double import CURRENT, NO_PUSH_PATHS, OLD_WEBSOCKET, Generation, TextileDouble
from .javascript import runner


@pytest.fixture(scope="module", autouse=True)
def _clients() -> None:
    runner.install()


CLIENTS = runner.CLIENTS if FULL else runner.CLIENTS[:1]


def some_of(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Of the four pairs of two by two, two with each of each; all at full length."""
    first, second, third, fourth = pairs
    return [first, second, third, fourth] if FULL else [second, third]


async def trial(double: TextileDouble, client: str, **options: Any) -> Any:
    settings = {"client": client, "host": double.url, "bucket": "ddocker", "thread": "buckets"}
    return await runner.run("trial.mjs", settings | options)


def check(double: TextileDouble, client: str, seen: Any, *, private: bool, push_paths: bool) -> None:
    bucket = double.bucket(seen["bucket"]["key"])
    assert (bucket.name, bucket.private) == ("ddocker", private)
    assert seen["again"] == bucket.key
    assert len(double.buckets.all()) == len(double.threads.by_id) == 1
    assert seen["small"]["path"].startswith("/ipfs/baf")
    assert seen["small"]["root"].startswith("/ipfs/baf")
    assert seen["progress"][-1] == 700000 + (84 if private else 0)
    assert len(seen["progress"]) >= 3
    assert seen["pulled"] == {"small": "small", "large": True, "empty": 0}
    if private:
        assert seen["missing"].startswith("could not resolve path: /ipfs/baf")
        assert seen["missing"].endswith("/none/at/all")
        assert seen["gone"].startswith("could not resolve path: ")
    else:
        assert seen["missing"].startswith('no link named "none" under baf')
        assert seen["gone"].startswith('no link named "sha256:small" under baf')
        assert seen["copied"] is True
    assert seen["stale"] == "update is non-fast-forward"
    sizes = {item["name"]: item["size"] for item in seen["listed"]}
    assert set(sizes) == {"sha256:small", "sha256:large"}
    assert sizes["sha256:small"] == 5 + (84 if private else 0)
    assert seen["links"]["url"].split("?")[0].endswith(f"/buckets/{bucket.key}/blobs/sha256:small")
    assert seen["names"] == ["ddocker"]
    assert seen["root"] == seen["removed"]
    if push_paths and client == "6.3.4":
        assert sorted((one["path"], one["size"]) for one in seen["many"]) == [
            ("many/one", 5 + (84 if private else 0)),
            ("many/two", 6 + (84 if private else 0)),
        ]
        assert (seen["manyPulled"], seen["moved"]) == ("second", "first")
    assert "blobs/sha256:large" in double.files(bucket.key)
    assert {call.transport for call in double.calls} == {"websocket"}
    # These clients send the root, which ours had better not: docs/protocols/textile.md, "Locks and roots".
    assert all(call.request.header.root for call in double.calls.of("PushPath"))


@pytest.mark.parametrize(("client", "private"), some_of(itertools.product(runner.CLIENTS, [False, True])))
@pytest_twisted.ensureDeferred
async def test_account_key_on_a_hub(client: str, private: bool) -> None:
    double = TextileDouble(hub=True).start()
    key = double.accounts.add_key()
    seen = await trial(double, client, key=key.key, secret=key.secret, encrypted=private)
    check(double, client, seen, private=private, push_paths=True)
    assert double.bucket("ddocker").owner == key.owner.public_key
    await double.stop()


@pytest.mark.parametrize("client", CLIENTS)
@pytest_twisted.ensureDeferred
async def test_key_without_required_signature(client: str) -> None:
    double = TextileDouble(hub=True).start()
    key = double.accounts.add_key(secure=False)
    seen = await trial(double, client, key=key.key)
    check(double, client, seen, private=False, push_paths=True)
    assert all("x-textile-api-sig" not in call.metadata for call in double.calls)
    await double.stop()


@pytest.mark.parametrize("client", CLIENTS)
@pytest_twisted.ensureDeferred
async def test_user_group_key_with_token(client: str) -> None:
    double = TextileDouble(hub=True).start()
    key = double.accounts.add_key(for_users=True)
    settings = {"client": client, "host": double.url, "bucket": "ddocker", "thread": "buckets"}
    file = {"path": "blobs/sha256:aa", "base64": "eA=="}
    seen = await runner.run(
        "write-original.mjs", settings | {"key": key.key, "secret": key.secret, "user": True, "files": [file]}
    )
    assert double.read(seen["key"], "blobs/sha256:aa") == b"x"
    asked = double.calls.of("GetToken")[0].request.key
    assert double.bucket("ddocker").owner == asked
    pushed = double.calls.of("PushPath")[0]
    assert double.accounts.identify_by_token(pushed.metadata) == asked
    await double.stop()


@pytest.mark.parametrize(
    ("client", "generation"), some_of(itertools.product(runner.CLIENTS, [CURRENT, OLD_WEBSOCKET])), ids=str
)
@pytest_twisted.ensureDeferred
async def test_buckd_without_keys(client: str, generation: Generation) -> None:
    double = TextileDouble(hub=False, generation=generation).start()
    seen = await trial(double, client)
    check(double, client, seen, private=False, push_paths=True)
    await double.stop()


@pytest_twisted.ensureDeferred
async def test_old_buckd_with_old_client() -> None:
    double = TextileDouble(hub=False, generation=NO_PUSH_PATHS).start()
    seen = await trial(double, "4.1.0", encrypted=True)
    check(double, "4.1.0", seen, private=True, push_paths=False)
    await double.stop()


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("bmjrgy3dfozzxuzlwnqyytmnsgezdgnbvgy3to", "Bad API key signature"),
        (None, "API key signature required"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_wrong_secret_is_told(secret: str | None, text: str) -> None:
    double = TextileDouble(hub=True).start()
    key = double.accounts.add_key()
    with pytest.raises(AssertionError, match=text):
        await trial(double, "6.3.4", key=key.key, secret=secret)
    assert double.threads.by_id == {}
    await double.stop()


@pytest.mark.parametrize("encrypted", [False, True] if FULL else [False])
@pytest_twisted.ensureDeferred
async def test_files_written_as_the_original_program_did(encrypted: bool) -> None:
    layer, config = b"layer" * 1000, b"{}"
    manifest = json.dumps({"schemaVersion": 2}).encode()
    files = {f"blobs/sha256:{hashlib.sha256(blob).hexdigest()}": blob for blob in (layer, config)}
    files["manifests/hello/latest"] = manifest
    for hub in (True, False):
        double = TextileDouble(hub=hub).start()
        key = double.accounts.add_key() if hub else None
        written = await runner.write_as_original(
            double.url,
            files,
            key=key.key if key else None,
            secret=key.secret if key else None,
            encrypted=encrypted,
        )
        assert {path: double.read(written["key"], path) for path in files} == files
        assert [file["cid"] for file in written["written"]] == [
            double.files(written["key"])[path].cid for path in files
        ]
        assert len(double.buckets.all()) == 1
        await double.stop()
