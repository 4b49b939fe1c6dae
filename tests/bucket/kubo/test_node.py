"""What a node may do to us: old versions, refusals, slowness, half answers, a full disk."""

import base64
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from multibase import decode
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.errors import Corrupt, Full, Refused, Unavailable
from tests.bucket.helpers import LIMIT, names, read, spawn
from tests.bucket.running import pause, running
from tests.bucket.storage import Collecting, read_into

from .backend import Backend, unique_folder
from .front import Answer, Call, Front, failure
from .node import KuboNode, running_node

LARGE = 5_000_000


@pytest.fixture
def front(node: KuboNode) -> Iterator[Front]:
    with Front(node).running() as front:
        yield front


@pytest_twisted.async_yield_fixture()
async def backend(front: Front, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(front.url, tmp_path, path=unique_folder(), timeout=3.0)) as backend:
        await backend.answers()
        yield backend


@pytest_twisted.ensureDeferred
async def test_every_option_that_a_cid_depends_on_is_sent(backend: Backend, front: Front) -> None:
    front.calls.clear()
    await backend.bucket.put_file("f", backend.spooled(os.urandom(3_000_000)))
    (call,) = front.of("add")
    assert call.options == {
        "cid-version": "1",
        "raw-leaves": "true",
        "hash": "sha2-256",
        "chunker": "size-1048576",
        "max-file-links": "1024",
        "trickle": "false",
        "inline": "false",
        "wrap-with-directory": "false",
        "only-hash": "false",
        "nocopy": "false",
        "progress": "false",
        "pin": "false",
        "offline": "true",
    }


@pytest_twisted.ensureDeferred
async def test_cids_are_those_of_the_profile_whatever_the_node_is_set_to(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    settings = {"CidVersion": 0, "UnixFSChunker": "size-4096", "UnixFSFileMaxLinks": 12, "HashFunction": "sha3-512"}
    odd = {"Import": settings}
    with running_node(tmp_path / "odd", odd) as odd_node, running_node(tmp_path / "plain") as plain:
        async with running(Backend(odd_node.url, tmp_path / "state")) as backend:
            await backend.bucket.put_file("f", backend.spooled(content))
            cid = (await backend.bucket.stat("f")).cid
            assert await read(backend.bucket, "f") == content
        plain.command("config", "profile", "apply", "unixfs-v1-2025")
        assert plain.command("add", "-Q", data=content).strip() == cid


@pytest_twisted.ensureDeferred
async def test_every_call_is_bounded_and_stays_on_the_node(backend: Backend, front: Front) -> None:
    front.calls.clear()
    await backend.bucket.put_file("a/f", backend.spooled(os.urandom(300_000)))
    await read(backend.bucket, "a/f")
    await backend.bucket.list("a")
    await backend.bucket.move("a/f", "b/f")
    await backend.bucket.remove("b/f")
    streams = {"add", "cat", "block/put"}  # bounded by us: nothing may move for so long
    bounds = {(call.command, call.options.get("timeout")) for call in front.calls if call.command not in streams}
    # Pins wait while the node collects garbage; what it has not got, it may look for only for so long.
    pins = {("pin/add", "30s"), ("pin/rm", "30s"), ("pin/update", "4s")}
    assert {bound for _, bound in bounds - pins} == {"3s"}
    assert pins & bounds == pins
    fetching = {"block/get", "cat", "files/cp", "files/stat", "ls", "pin/update", "pin/add"}
    assert all(call.options.get("offline") == "true" for call in front.calls if call.command in fetching)
    for call in front.calls:
        agent = call.headers["User-Agent"]
        assert "Mozilla" not in agent
        assert "kubo" not in agent
        assert not {"Origin", "Referer"} & set(call.headers)


class TestOldVersions:
    """Commands and options that a version does not have are not relied on."""

    def old(self, front: Front, version: str, *unknown: str) -> None:
        document = f'{{"Version":"{version}","Commit":"","Repo":"11","System":"amd64/linux","Golang":"go1.14"}}'
        front.hooks["version"] = lambda call: Answer(200, document.encode(), {"Content-Type": "application/json"})
        front.unknown_options = set(unknown)

    @pytest_twisted.ensureDeferred
    async def test_0_8(self, front: Front, tmp_path: Path, log: list[LogEvent]) -> None:
        self.old(front, "0.8.0", "parents-of-cp", "max-file-links", "pin-name", "to-files", "force", "stats")
        commands: list[Call] = front.calls

        def copies_without_parents(call: Call) -> Answer | None:
            call.options.pop("parents", None)
            return None

        front.hooks["files/cp"] = copies_without_parents
        content = os.urandom(300_000)
        async with running(Backend(front.url, tmp_path, path=unique_folder())) as backend:
            bucket = backend.bucket
            await bucket.put_file("a/b/c/f", backend.spooled(content))
            await bucket.put("a/b/g", b"1")
            await bucket.put("a/b/g", b"2")
            await bucket.move("a/b/c/f", "d/e/f")
            assert await read(bucket, "d/e/f") == content
            assert await bucket.get("a/b/g", LIMIT) == b"2"
            assert await names(bucket, "a/b") == ["g"]
            await bucket.remove("d/e/f")
            assert await bucket.list("d") == []
        known_since_then = {"dag/import", "provide/once", "routing/provide", "key/ls"}
        assert not known_since_then & {call.command for call in commands}
        assert any("174" in formatEvent(event) for event in log)

    @pytest_twisted.ensureDeferred
    async def test_before_0_40_chunks_are_no_longer_than_a_mebibyte(self, front: Front, tmp_path: Path) -> None:
        self.old(front, "0.39.0")
        backend = Backend(front.url, tmp_path, path=unique_folder(), chunker="size-2000000")
        async with running(backend):
            await backend.bucket.put("f", bytes(100_000))
        assert {call.options["chunker"] for call in front.of("add")} == {"size-1048576"}

    @pytest_twisted.ensureDeferred
    async def test_too_old(self, front: Front, tmp_path: Path, log: list[LogEvent]) -> None:
        self.old(front, "0.7.0")
        async with running(Backend(front.url, tmp_path, path=unique_folder())) as backend:
            with pytest.raises(Unavailable, match=r"0\.8"):
                await backend.bucket.put("f", b"1")
        assert any("needs 0.8" in formatEvent(event) for event in log)

    @pytest_twisted.ensureDeferred
    async def test_the_version_is_asked_once(self, backend: Backend, front: Front) -> None:
        for number in range(5):
            await backend.bucket.put(f"f{number}", b"1")
        assert len(front.of("version")) == 1


class TestHalfAnswers:
    """`X-Stream-Error` is in a trailer that nobody shows us: everything is counted."""

    @pytest_twisted.ensureDeferred
    async def test_a_stream_that_ends_early(self, backend: Backend, front: Front) -> None:
        await backend.bucket.put_file("f", backend.spooled(os.urandom(LARGE)))
        front.truncate_stream = 1_000_000
        reader = await backend.bucket.open("f")
        with pytest.raises(Unavailable, match="ended early"):
            await read_into(reader, Collecting(), 0, LARGE)
        front.truncate_stream = 3
        await backend.bucket.put("g", b"12345")
        with pytest.raises(Corrupt):
            await backend.bucket.get("g", LIMIT)

    @pytest_twisted.ensureDeferred
    async def test_a_block_that_is_lost(self, backend: Backend, node: KuboNode) -> None:
        await backend.bucket.put_file("f", backend.spooled(os.urandom(LARGE)))
        cid = (await backend.bucket.stat("f")).cid or ""
        links = (await deferToThread(node.rpc, "ls", cid))[0]["Objects"][0]["Links"]
        lose_block(node, links[3]["Hash"])
        reader = await backend.bucket.open("f")
        consumer = Collecting()
        with pytest.raises(Corrupt):
            await read_into(reader, consumer, 0, LARGE)
        assert 0 < len(consumer.content) < LARGE
        with pytest.raises(Corrupt):
            await read_into(reader, Collecting(), 3 * 1024**2 + 5, 100)
        # It can be put into quarantine, as far as that goes, and pushed again.
        await backend.bucket.move("f", "quarantine/f")
        assert await backend.bucket.list("f") == []
        content = os.urandom(LARGE)
        await backend.bucket.put_file("f", backend.spooled(content))
        assert await read(backend.bucket, "f") == content

    @pytest_twisted.ensureDeferred
    async def test_an_add_that_fails_after_its_answer(self, backend: Backend, front: Front, node: KuboNode) -> None:
        """The CID is told before everything is stored (trap 2): the pin of the whole notices."""
        content = os.urandom(LARGE)

        def lose(call: Call, body: bytes) -> bytes:
            if call.command == "add" and not lost:
                cid = json.loads(body.splitlines()[-1])["Hash"]
                lost.append(node.rpc("ls", cid)[0]["Objects"][0]["Links"][1]["Hash"])
                node.rpc("block/rm", lost[0], force=True)
            return body

        lost: list[str] = []
        front.after = lose
        await backend.bucket.put_file("f", backend.spooled(content))
        assert len(lost) == 1
        assert await read(backend.bucket, "f") == content


def lose_block(node: KuboNode, cid: str) -> None:
    """Take a block from a node's disk: it is pinned, so it does not give it away."""
    # flatfs: base32 of the multihash, in a directory named by the next-to-last two characters.

    name = base64.b32encode(decode(cid)[2:]).decode().rstrip("=")
    (file,) = (node.repository / "blocks").glob(f"*/{name}.data")
    file.unlink()


class TestRefusals:
    @pytest_twisted.ensureDeferred
    async def test_an_early_answer_stops_the_upload(self, backend: Backend, front: Front) -> None:
        front.hooks["add"] = lambda call: failure("no space left on device")
        source = backend.spooled(os.urandom(20_000_000))
        with pytest.raises(Full):
            await backend.bucket.put_file("f", source)
        assert source.exists()
        del front.hooks["add"]
        await backend.bucket.put_file("f", source)
        assert (await backend.bucket.stat("f")).size == 20_000_000

    @pytest.mark.parametrize(
        "text",
        ["no space left on device", "write /x: disk quota exceeded", "maximum storage limit exceeded. Try to unpin"],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_full_node(self, backend: Backend, front: Front, text: str) -> None:
        await backend.bucket.put("before", b"1")
        for command in ("add", "block/put", "pin/update"):
            front.hooks[command] = lambda call: failure(text)
            with pytest.raises(Full):
                await backend.bucket.put_file("f", backend.spooled(os.urandom(100_000)))
            del front.hooks[command]
        assert await backend.bucket.get("before", 1) == b"1"
        await backend.bucket.put("f", b"room again")
        assert await backend.bucket.get("f", LIMIT) == b"room again"

    @pytest_twisted.ensureDeferred
    async def test_not_the_rpc_of_a_node(self, front: Front, tmp_path: Path) -> None:
        front.hooks["*"] = lambda call: Answer(404, b"404 page not found\n")
        async with running(Backend(front.url, tmp_path)) as backend:
            with pytest.raises(Refused, match="not the RPC"):
                await backend.bucket.get("f", 1)

    @pytest_twisted.ensureDeferred
    async def test_what_nobody_knows_is_no_absence(self, backend: Backend, front: Front) -> None:
        await backend.bucket.put("f", b"1")
        front.hooks["pin/ls"] = lambda call: failure("a new kind of trouble with f")
        for ask in (
            lambda: backend.bucket.stat("f"),
            lambda: backend.bucket.list("f"),
            lambda: backend.bucket.get("f", 1),
        ):
            with pytest.raises(Unavailable):
                await ask()


class TestSlowness:
    @pytest_twisted.ensureDeferred
    async def test_a_stream_that_stalls_leaves_others_alone(self, node: KuboNode, front: Front, tmp_path: Path) -> None:
        stall = True

        def stalled(call: Call) -> Answer | None:
            while stall and call.options.get("length") == str(LARGE):
                time.sleep(0.01)
            return None

        async with running(Backend(front.url, tmp_path, path=unique_folder(), timeout=3.0, connections=2)) as backend:
            await backend.bucket.put_file("f", backend.spooled(os.urandom(LARGE)))
            await backend.bucket.put("g", b"quick")
            front.hooks["cat"] = stalled
            try:
                reader = await backend.bucket.open("f")
                slow = [spawn(read_into(reader, Collecting(), 0, LARGE)) for _ in range(5)]
                await pause(0.1)
                began = time.monotonic()
                for _ in range(10):
                    assert await backend.bucket.get("g", LIMIT) == b"quick"
                    await backend.bucket.stat("f")
                assert time.monotonic() - began < 2.4
                for each in slow:
                    with pytest.raises(Unavailable):
                        await each
            finally:
                stall = False

    @pytest_twisted.ensureDeferred
    async def test_a_node_that_never_answers(self, front: Front, tmp_path: Path) -> None:
        hang = True

        def hanging(call: Call) -> Answer | None:
            while hang:
                time.sleep(0.01)
            return failure("too late")

        async with running(Backend(front.url, tmp_path, path=unique_folder(), timeout=0.3)) as backend:
            await backend.bucket.put("f", b"1")
            front.hooks["*"] = hanging
            began = time.monotonic()
            for ask in (lambda: backend.bucket.get("f", 1), lambda: backend.bucket.put("f", b"2")):
                with pytest.raises(Unavailable, match="does not answer"):
                    await ask()
            assert time.monotonic() - began < 8
            hang = False
            front.hooks.clear()

    @pytest_twisted.ensureDeferred
    async def test_stopping_does_not_wait_for_the_node(self, front: Front, tmp_path: Path) -> None:
        hang = True

        def hanging(call: Call) -> Answer | None:
            while hang:
                time.sleep(0.01)
            return None

        backend = await Backend(front.url, tmp_path, path=unique_folder()).start()
        await backend.bucket.put("f", b"1")
        front.hooks["block/put"] = hanging
        waiting: Deferred[Any] = ensureDeferred(spawn(backend.bucket.put("g", b"2")))
        await pause(0.05)
        began = time.monotonic()
        await backend.stop()
        with pytest.raises(Unavailable):
            await waiting
        assert time.monotonic() - began < 2
        hang = False


SECRETS = {"one": "bearer:token-1", "two": "basic:user:password-2"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    """A node that wants a secret, and allows what the documents say that it has to."""
    allowed = ["add", "block", "cat", "ls", "files", "pin", "version"]
    config = {
        name: {"AuthSecret": secret, "AllowedPaths": [f"/api/v0/{path}" for path in allowed]}
        for name, secret in SECRETS.items()
    }
    with running_node(tmp_path_factory.mktemp("guarded"), {"API.Authorizations": config}) as node:
        yield node


class TestAuthorization:
    @pytest.mark.parametrize("secret", SECRETS.values())
    @pytest_twisted.ensureDeferred
    async def test_a_secret(self, guarded: KuboNode, tmp_path: Path, secret: str, log: list[LogEvent]) -> None:
        (tmp_path / "secret").write_text(f"{secret}\n")
        for option in ({"authorization": secret}, {"authorization_file": tmp_path / "secret"}):
            async with running(Backend(guarded.url, tmp_path / "state", path=unique_folder(), **option)) as backend:
                await backend.bucket.put_file("f", backend.spooled(b"x" * 400_000))
                assert await read(backend.bucket, "f") == b"x" * 400_000
                await backend.bucket.remove("f")
                assert secret not in repr(backend.options)
        word = secret.rpartition(":")[2]
        assert not [event for event in log if word in formatEvent(event)]

    @pytest.mark.parametrize("options", [{}, {"authorization": "bearer:wrong"}])
    @pytest_twisted.ensureDeferred
    async def test_without_it_or_with_another(
        self, guarded: KuboNode, tmp_path: Path, options: dict[str, str], log: list[LogEvent]
    ) -> None:
        async with running(Backend(guarded.url, tmp_path, **options)) as backend:
            with pytest.raises(Refused, match="authorization"):
                await backend.bucket.put("f", b"1")
        assert not [event for event in log if "wrong" in formatEvent(event)]
