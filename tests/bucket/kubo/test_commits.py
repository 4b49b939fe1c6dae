"""Which state of a bucket counts: crashes between two steps, lost answers, late requests, and several daemons."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import Unavailable
from tests.bucket.helpers import LIMIT, names, together
from tests.bucket.running import pause, running

from .backend import Backend, unique_folder
from .front import Answer, Call, Front
from .node import KuboNode, running_node
from .state import marker, markers, pinned, root_of


@pytest_twisted.ensureDeferred
async def test_exactly_the_state_that_counts_is_pinned(node: KuboNode, tmp_path: Path) -> None:
    folder, before = unique_folder(), pinned(node)
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        for number in range(5):
            await backend.bucket.put(f"a/{number}", b"1")
            assert pinned(node) - before == {root_of(node, folder)}
        await backend.bucket.remove("a/0")
        root = root_of(node, folder)
        assert pinned(node) - before == {root}
        assert len(markers(node, folder)) == 2, "the state's, and the daemon's"
    assert len(markers(node, folder)) == 1
    assert node.command("ls", f"{root}/a").split()[2::3] == ["1", "2", "3", "4"]


@pytest_twisted.ensureDeferred
async def test_the_mfs_shows_it(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a/b", b"1")
        end = time.monotonic() + 10
        while node.rpc("files/ls", "/")[0]["Entries"] is None or shown(node, folder) != root_of(node, folder):
            assert time.monotonic() < end
            await pause(0.1)
    assert node.command("files", "read", f"{folder}/bucket/a/b") == "1"


def shown(node: KuboNode, folder: str) -> str | None:
    names = [each["Name"] for each in node.rpc("files/ls", folder.rpartition("/")[0] or "/")[0]["Entries"]]
    if folder.rpartition("/")[2] not in names or not node.rpc("files/ls", folder)[0]["Entries"]:
        return None
    cid: str = node.rpc("files/stat", f"{folder}/bucket")[0]["Hash"]
    return cid


@pytest_twisted.ensureDeferred
async def test_an_mfs_that_hangs_is_no_concern_of_anybodys(node: KuboNode, tmp_path: Path) -> None:
    folder, hang = unique_folder(), False

    def hanging(call: Call) -> Answer | None:
        while hang:
            time.sleep(0.01)
        return None

    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path, path=folder, timeout=2.0)) as backend:
            await backend.bucket.put("a", b"1")
            hang = True
            for command in ("files/stat", "files/ls", "files/rm", "files/cp", "files/flush", "files/mkdir"):
                front.hooks[command] = hanging
            began = time.monotonic()
            while time.monotonic() - began < 1.5:  # the folder is to be changed a second after a push
                await backend.bucket.put("b", b"%f" % began)
                assert await backend.bucket.get("b", LIMIT) == b"%f" % began
            hang = False


@pytest_twisted.ensureDeferred
async def test_what_waits_goes_in_one_batch(node: KuboNode, tmp_path: Path) -> None:
    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path, path=unique_folder())) as backend:
            await backend.bucket.put("first", b"")
            front.calls.clear()
            await together(*(backend.bucket.put(f"d/{number}", b"%d" % number) for number in range(30)))
            assert len(front.of("pin/update")) <= 3
            assert len(front.of("add")) == 0
            assert len(await names(backend.bucket, "d")) == 30


@pytest_twisted.ensureDeferred
async def test_a_push_of_a_small_file_is_six_calls(node: KuboNode, tmp_path: Path) -> None:
    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path, path=unique_folder())) as backend:
            await backend.bucket.put("d/first", b"")
            front.calls.clear()
            await backend.bucket.put("d/second", b"2")
            commands = [call.command for call in front.calls if not call.command.startswith("files/")]
            assert commands == ["pin/rm", "block/put", "block/put", "pin/update", "pin/add", "pin/ls"]


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_died_at_it_is_waited_for(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path, path=folder, timeout=0.3)) as backend:
        await backend.bucket.put("a", b"1")
        node.rpc("pin/add", marker(folder, f"daemon 0123 {int(time.time())}"), recursive=False)
        node.rpc("pin/rm", marker(folder, markers(node, folder)[0]))
        began = time.monotonic()
        while True:
            try:
                assert await backend.bucket.get("a", 1) == b"1"
                await backend.bucket.put("b", b"2")
                break
            except Unavailable:
                assert time.monotonic() - began < 15
        assert time.monotonic() - began > 1.0, "not at once: it may be alive"
        assert await backend.bucket.get("b", 1) == b"2"


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_is_alone_waits_for_nobody(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    first: Any = await Backend(node.url, tmp_path, path=folder).start()
    await first.bucket.put("a", b"1")
    await first.bucket.commits.register.take()  # and is killed
    began = time.monotonic()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("b", b"2")
        assert await names(backend.bucket, "none") == []
        assert await backend.bucket.get("a", 1) == b"1"
    assert time.monotonic() - began < 5
    await first.stop()


@pytest_twisted.ensureDeferred
async def test_a_crash_between_the_pin_and_the_marker(node: KuboNode, tmp_path: Path) -> None:
    folder, before = unique_folder(), pinned(node)
    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path, path=folder)) as backend:
            await backend.bucket.put("a", b"1")
            front.hooks["pin/add"] = lambda call: Answer(502, b"killed")
            with pytest.raises(Unavailable):
                await backend.bucket.put("b", b"2")
            assert len(markers(node, folder)) == 1, "the daemon's alone"
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        assert await backend.bucket.get("a", 1) == b"1"
        await backend.bucket.put("c", b"3")
        assert pinned(node) - before == {root_of(node, folder)}
        assert await backend.bucket.get("b", 1) == b"2", "pinned, and so as good as acknowledged"


@pytest_twisted.ensureDeferred
async def test_what_a_crash_left_pinned(node: KuboNode, tmp_path: Path) -> None:
    folder, before = unique_folder(), pinned(node)
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("a", b"1")
    left = node.command("add", "-Q", "--cid-version=1", data=folder.encode()).strip()
    noted = json.loads((tmp_path / "kubo.json").read_text())
    (tmp_path / "kubo.json").write_text(json.dumps({**noted, "unsettled": [left]}))
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        await backend.bucket.put("b", b"2")
        assert pinned(node) - before == {root_of(node, folder)}
        await backend.bucket.put("c", b"3")
    assert left not in json.loads((tmp_path / "kubo.json").read_text())["unsettled"]


@pytest.mark.parametrize("command", ["pin/rm", "block/put", "pin/update", "pin/add"])
@pytest_twisted.ensureDeferred
async def test_a_lost_answer(node: KuboNode, tmp_path: Path, command: str) -> None:
    """The node did it, and nobody was told."""
    folder, before = unique_folder(), pinned(node)
    lost: list[Call] = []

    def lose(call: Call, body: bytes) -> bytes:
        if call.command == command and not lost:
            lost.append(call)
            raise ConnectionError
        return body

    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path, path=folder)) as backend:
            await backend.bucket.put("a", b"1")
            front.after = lose
            with pytest.raises(Unavailable):
                await backend.bucket.put("b", b"2")
            assert len(lost) == 1
            began = time.monotonic()
            assert await backend.bucket.get("a", 1) == b"1"
            await backend.bucket.put("c", b"3")
            assert time.monotonic() - began < 5
            assert await backend.bucket.get("a", 1) == b"1"
            assert await backend.bucket.get("c", 1) == b"3"
            assert pinned(node) - before == {root_of(node, folder)}
            assert len(markers(node, folder)) == 2


@pytest.mark.parametrize("command", ["pin/rm", "block/put", "pin/update", "pin/add"])
@pytest_twisted.ensureDeferred
async def test_a_request_that_arrives_late(node: KuboNode, tmp_path: Path, command: str) -> None:
    """Given up, and done by the node after the next change: what was acknowledged since then stays."""
    folder, before = unique_folder(), pinned(node)
    late: list[Callable[[], Any]] = []

    def keep(call: Call) -> Answer | None:
        if late:
            return None
        if command != "block/put":
            options: dict[str, Any] = dict(call.options)
            late.append(lambda: node.rpc(command, *call.arguments, **options))
        else:
            late.append(lambda: None)
        return Answer(504, b"a proxy")

    with Front(node).running() as front:
        async with running(Backend(front.url, tmp_path, path=folder)) as backend:
            await backend.bucket.put("a", b"1")
            front.hooks[command] = keep
            with pytest.raises(Unavailable):
                await backend.bucket.put("b", b"2")
            await backend.bucket.put("c", b"3")
            with suppress(OSError):  # what it was about may not be there any more
                late[0]()
            assert await backend.bucket.get("c", 1) == b"3"
            await backend.bucket.put("d", b"4")
            async with running(Backend(node.url, tmp_path / "another", path=folder)) as another:
                for name, content in (("a", b"1"), ("c", b"3"), ("d", b"4")):
                    assert await backend.bucket.get(name, 1) == content
                    assert await another.bucket.get(name, 1) == content
            assert pinned(node) - before == {root_of(node, folder)}
            assert len(markers(node, folder)) == 2


@pytest_twisted.ensureDeferred
async def test_a_marker_that_came_late_is_not_believed(node: KuboNode, tmp_path: Path) -> None:
    """Not even while the one that counts is taken."""
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path / "a", path=folder)) as a:
        await a.bucket.put("a", b"1")
        stale = markers(node, folder)[0]
        await a.bucket.put("a", b"2")
        with Front(node).running() as front:
            # Taken by a daemon that does not get on; another one comes, and a marker of before is there.
            node.rpc("pin/add", marker(folder, stale), recursive=False)
            node.rpc("pin/rm", marker(folder, markers(node, folder)[1]))
            b = Backend(front.url, tmp_path / "b", path=folder, timeout=1.0)
            async with running(b):
                assert await b.bucket.get("a", 1) == b"2"
                for _ in range(2):
                    node.rpc("pin/add", marker(folder, stale), recursive=False)
                    with pytest.raises(Unavailable):
                        await b.bucket.put("b", b"1")
                    assert await b.bucket.get("a", 1) == b"2"


@pytest_twisted.ensureDeferred
async def test_daemons_that_begin_at_the_same_time(node: KuboNode, tmp_path: Path) -> None:
    folder, before = unique_folder(), pinned(node)
    backends = [Backend(node.url, tmp_path / str(number), path=folder, timeout=5.0) for number in range(3)]
    for each in backends:
        await each.start()
    try:

        async def push(number: int) -> None:
            for count in range(5):
                await stored(backends[number], f"{number}/{count}")

        await together(*(push(number) for number in range(3)))
        assert pinned(node) - before == {root_of(node, folder)}
        for each in backends:
            for number in range(3):
                assert await names(each.bucket, str(number)) == ["0", "1", "2", "3", "4"]
    finally:
        for each in backends:
            await each.stop()


async def stored(backend: Backend, path: str) -> None:
    """Have a file stored, however often that takes."""
    while True:
        try:
            await backend.bucket.put(path, b"x")
        except Unavailable:
            await pause(0.05)
        else:
            return


@pytest_twisted.ensureDeferred
async def test_another_node_is_not_taken_for_an_empty_bucket(tmp_path: Path) -> None:
    with running_node(tmp_path / "one") as one, running_node(tmp_path / "two") as two:
        with Front(one).running() as front:
            async with running(Backend(front.url, tmp_path / "state")) as backend:
                await backend.bucket.put("a", b"1")
                front.node = two
                for _ in range(2):
                    with pytest.raises(Unavailable):
                        await backend.bucket.get("a", 1)
                with pytest.raises(Unavailable, match=r"kubo\.json"):
                    await backend.bucket.put("b", b"2")
                front.node = one
                await backend.answers()
                assert await backend.bucket.get("a", 1) == b"1"
        # To begin anew there is a decision of the user's.
        (tmp_path / "state" / "kubo.json").unlink()
        async with running(Backend(two.url, tmp_path / "state")) as backend:
            await backend.bucket.put("b", b"2")
            assert await backend.bucket.get("b", 1) == b"2"


@pytest_twisted.ensureDeferred
async def test_a_bucket_begins_with_what_its_folder_shows(node: KuboNode, tmp_path: Path) -> None:
    folder, copy = unique_folder(), unique_folder()
    async with running(Backend(node.url, tmp_path / "one", path=folder)) as backend:
        await backend.bucket.put("a/b", b"1")
        node.rpc("files/cp", f"/ipfs/{root_of(node, folder)}", f"{copy}/bucket", parents=True)
        await backend.bucket.put("a/c", b"2")
    async with running(Backend(node.url, tmp_path / "two", path=copy)) as backend:
        assert await names(backend.bucket, "a") == ["b"]
        await backend.bucket.put("a/d", b"3")
        assert await names(backend.bucket, "a") == ["b", "d"]


@pytest_twisted.ensureDeferred
async def test_a_state_of_an_earlier_version(node: KuboNode, tmp_path: Path) -> None:
    """It has no number, no marker, and a note that tells less."""
    folder = unique_folder()
    node.rpc("files/mkdir", f"{folder}/old", parents=True, cid_version=1)
    content = node.command("add", "-Q", "--cid-version=1", "--pin=false", data=b"1").strip()
    node.rpc("files/cp", f"/ipfs/{content}", f"{folder}/old/a")
    root = node.rpc("files/stat", f"{folder}/old")[0]["Hash"]
    node.rpc("pin/add", root)
    tmp_path.joinpath("kubo.json").write_text(
        json.dumps({"folder": folder, "owner": "1", "root": root, "pinning": None})
    )
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        assert await backend.bucket.get("a", 1) == b"1"
        await backend.bucket.put("b", b"2")
        assert root not in pinned(node)
        assert await backend.bucket.get("a", 1) == b"1"


@pytest_twisted.ensureDeferred
async def test_a_directory_with_thousands_of_names(node: KuboNode, tmp_path: Path) -> None:
    folder = unique_folder()
    async with running(Backend(node.url, tmp_path, path=folder)) as backend:
        wanted = [f"{number:064d}" for number in range(2700)]
        await together(*(backend.bucket.put(f"d/{name}", b"") for name in wanted))
        assert node.rpc("files/stat", f"/ipfs/{root_of(node, folder)}/d")[0]["Type"] == "directory"
        assert await names(backend.bucket, "d") == wanted
        assert await backend.bucket.get(f"d/{wanted[77]}", 1) == b""
        await together(*(backend.bucket.remove(f"d/{name}") for name in wanted[:150]))
        assert await names(backend.bucket, "d") == wanted[150:]
        links = node.command("dag", "get", f"{root_of(node, folder)}/d")
        assert len(json.loads(links)["Links"]) == len(wanted) - 150, "it is a plain directory again"
