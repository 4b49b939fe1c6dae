"""Whatever stands where the node should be: each call fails as the storage's, and none as a fault of ours."""

import secrets
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.kubo.following.remote_pins import KuboRemotePins
from tests.bucket.helpers import LIMIT, read, spawn
from tests.bucket.running import running
from tests.full import FULL

from .backend import Backend, unique_folder
from .front import Answer, Front
from .node import KuboNode

CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

ANSWERS = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a list of lists": b"[[1]]",
    "an object": b"{}",
    "a number": b"7",
    "a text": b'"text"',
    "no JSON": b"<html>It works!</html>",
    "no UTF-8": b"\xff\xfe",
    "depth": b"[" * 100_000,
    "closed depth": b"[" * 100_000 + b"]" * 100_000,
    "depth in an object": b'{"Keys":' * 50_000,
    "other kinds": b'{"Hash":[1],"Size":{},"Type":0,"Entries":7,"Keys":7,"Objects":7,"Name":{},"Path":[],"Local":[]}',
    "other kinds inside": b'{"Entries":[7],"Keys":[7],"Objects":[7],"Hash":"x","Size":"x","Type":"file"}',
    "an infinite size": b'{"Hash":"%b","Size":1e999,"Type":"file"}' % CID.encode(),
    "a long number": b'{"Hash":"x","Size":' + b"9" * 5000 + b"}",
    "a list of numbers": b'{"Objects":[{"Links":[1]}],"Keys":{"a":1},"Entries":[{}]}',
}

NAMES = list(ANSWERS) if FULL else ["null", "depth in an object", "closed depth", "an infinite size", "a long number"]


@pytest.fixture(scope="module")
def strange(node: KuboNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Backend, Front]]:
    front = Front(node)
    with front.running():
        backend = Backend(front.url, tmp_path_factory.mktemp("strange"), path=unique_folder(), timeout=1)

        async def start() -> None:
            await backend.start()
            await backend.bucket.put("a/file", b"content")

        pytest_twisted.blockon(spawn(start()))
        yield backend, front
        front.hooks.clear()
        pytest_twisted.blockon(spawn(backend.stop()))


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("name", NAMES)
@pytest_twisted.ensureDeferred
async def test_every_call(strange: tuple[Backend, Front], name: str, status: int) -> None:
    backend, front = strange
    bucket, by_cid = backend.bucket, backend.opened.ipfs.content_by_cid
    assert by_cid is not None
    pins = KuboRemotePins(bucket.node.content, by_cid.root, "x")  # type: ignore[attr-defined]
    fresh = secrets.token_hex(8)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: bucket.stat(f"a/{fresh}"),
        lambda: bucket.get("a/file", LIMIT),
        lambda: bucket.list("a"),
        lambda: read(bucket, "a/file"),
        lambda: bucket.put(f"a/{fresh}", b"1"),
        lambda: bucket.put_file(f"b/{fresh}", backend.spooled(b"1" * 3_000_000)),
        lambda: bucket.move("a/file", f"a/{fresh}"),
        lambda: bucket.remove(f"a/{fresh}"),
        lambda: by_cid.open_cid(f"{CID}/{fresh}", None),
        lambda: by_cid.open_cid(CID, 5),
        lambda: by_cid.view(CID).list("a"),
        lambda: by_cid.view(CID).stat("a/b"),
        lambda: by_cid.resolve("example.test"),
        lambda: by_cid.publish(CID, fresh),
        lambda: pins.keep_copy("service"),
        by_cid.root,
        backend.opened.told,
    ]
    front.hooks["*"] = lambda call: Answer(status, ANSWERS[name])
    try:
        for call in calls:
            try:
                await call()
            except BucketError:
                continue  # as it should be; some of the answers are sensible ones to some of the calls
    finally:
        front.hooks.clear()


@pytest.mark.parametrize("name", ["a list", "closed depth", "a long number"])
@pytest_twisted.ensureDeferred
async def test_at_the_start(node: KuboNode, tmp_path: Path, name: str) -> None:
    with Front(node).running() as front:
        front.hooks["*"] = lambda call: Answer(200, ANSWERS[name])
        async with running(Backend(front.url, tmp_path, path=unique_folder(), timeout=1)) as backend:
            with pytest.raises(BucketError):
                await backend.bucket.list("a")
