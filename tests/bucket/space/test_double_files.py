"""The double's files: AddItems, OpenFile, the listings, RemoveDirOrFile.

See docs/protocols/space.md, "Adding files", "Opening files" and "Listing and removing".
"""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.bucket.space.proto import space_pb2
from tests.bucket.textile.double.tree import Directory

from .double import Fault, Limits, RpcError, SpaceDouble
from .double.fixtures import space_daemon
from .double.peer import ask, get

__all__ = ["space_daemon"]

HEX = "sha256:" + "ab" * 32


def write(directory: Path, files: dict[str, bytes]) -> list[str]:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return [str(directory / name) for name in files]


async def add(double: SpaceDouble, sources: list[str], target: str = "", bucket: str = "ddocker") -> Any:
    answer = await ask(double, "AddItems", sourcePaths=sources, targetPath=target, bucket=bucket)
    assert answer.status == 0, answer.text
    return answer.read_all(space_pb2.AddItemsResponse)


async def open_file(double: SpaceDouble, path: str) -> Path:
    return Path((await get(double, "OpenFile", path=path, bucket="ddocker")).location)


@pytest_twisted.ensureDeferred
async def test_file_goes_in_and_out(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    sources = write(tmp_path, {HEX: b"layer", "empty": b"", "large": os.urandom(2_500_000)})
    seen = await add(space_daemon, sources, "blobs/")
    assert [done.result.sourcePath for done in seen] == sources
    assert [(done.completedFiles, done.completedBytes) for done in seen] == [(1, 5), (2, 5), (3, 2_500_005)]
    assert {(done.totalFiles, done.totalBytes) for done in seen} == {(3, 2_500_005)}
    # Not a path in the bucket, but the bucket's root after each file.
    assert len({done.result.bucketPath for done in seen}) == 3
    assert seen[-1].result.bucketPath == space_daemon.bucket().path
    for source in sources:
        location = await open_file(space_daemon, f"blobs/{Path(source).name}")
        assert location.read_bytes() == Path(source).read_bytes()
        assert location.name.endswith(f"-{Path(source).name}")
        assert stat.S_IMODE(location.stat().st_mode) == 0o600


@pytest_twisted.ensureDeferred
async def test_items_that_fail_do_not_fail_the_call(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    sources = write(tmp_path, {"a": b"1", "b": b"22", "c": b"333", "d": b"4444"})
    space_daemon.faults.item_errors["b"] = "bucket encryption key missing"
    space_daemon.faults.unanswered_items.add("c")
    seen = await add(space_daemon, [*sources, sources[0]], "/")
    assert [(Path(done.result.sourcePath).name, done.result.error) for done in seen] == [
        ("a", ""),
        ("b", "bucket encryption key missing"),
        ("d", ""),
    ]
    assert [done.result.bucketPath != "" for done in seen] == [True, False, True]
    assert (seen[-1].completedFiles, seen[-1].completedBytes, seen[-1].totalFiles) == (3, 5, 4)
    assert set(space_daemon.files()) == {"a", "d"}


@pytest_twisted.ensureDeferred
async def test_missing_source_fails_the_whole_call(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    sources = write(tmp_path, {"a": b"1"})
    none = str(tmp_path / "none")
    answer = await ask(space_daemon, "AddItems", sourcePaths=[*sources, none], bucket="ddocker")
    assert (answer.status, answer.text, answer.messages) == (2, f"path not found at {none}", [])
    assert space_daemon.files() == {}
    # That is looked at before the bucket is, so no junk comes of it.
    answer = await ask(space_daemon, "AddItems", sourcePaths=[none], bucket="typo")
    assert answer.text == f"path not found at {none}"
    assert space_daemon.junk() == []


@pytest_twisted.ensureDeferred
async def test_source_that_goes_away_in_time_is_an_item_that_failed(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    sources = write(tmp_path, {"a": b"1", "b": b"2"})
    space_daemon.faults.save_seconds = 0.1
    space_daemon.reactor.callLater(0.05, os.unlink, sources[1])
    seen = await add(space_daemon, sources)
    assert seen[1].result.error == f"open {sources[1]}: no such file or directory"
    space_daemon.faults.storage_exhausted = True
    seen = await add(space_daemon, sources[:1])
    assert seen[0].result.error == "rpc error: code = Unknown desc = storage quota exhausted"


@pytest_twisted.ensureDeferred
async def test_folder_goes_in_with_a_file_that_keeps_it(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    write(tmp_path, {"top/a": b"1", "top/below/b": b"22"})
    seen = await add(space_daemon, [str(tmp_path / "top")], "x")
    top = tmp_path / "top"
    assert [done.result.sourcePath for done in seen] == [
        str(path) for path in (top, top / "a", top / "below", top / "below" / "b")
    ]
    assert (seen[0].totalFiles, seen[0].totalBytes, seen[-1].completedBytes) == (4, 3, 3)
    assert set(space_daemon.files()) == {"x/top/.keep", "x/top/a", "x/top/below/.keep", "x/top/below/b"}
    await get(space_daemon, "CreateFolder", path="/new//one/", bucket="ddocker")
    assert "new/one/.keep" in space_daemon.files()


@pytest_twisted.ensureDeferred
async def test_same_copy_until_the_content_changes_or_it_is_gone(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    space_daemon.dies_when_touched = False
    space_daemon.put_files({"tag": b"one"})
    first = await open_file(space_daemon, "tag")
    assert await open_file(space_daemon, "/tag") == first
    await add(space_daemon, write(tmp_path, {"tag": b"two"}))
    second = await open_file(space_daemon, "tag")
    assert second != first
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    # The same content has the same CID, so that it is the same copy again.
    await add(space_daemon, write(tmp_path, {"tag": b"one"}))
    assert await open_file(space_daemon, "tag") == first
    first.unlink()
    third = await open_file(space_daemon, "tag")
    assert (third != first, third.read_bytes()) == (True, b"one")


@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_told_by_the_text_only(space_daemon: SpaceDouble) -> None:
    space_daemon.put_files({f"blobs/{HEX}": b"x"})
    root = space_daemon.bucket().root
    cipher = space_daemon.record().cipher
    blobs = root.entries[cipher.encrypt_name("blobs")]
    for method in ("OpenFile", "ListDirectory"):
        answer = await ask(space_daemon, method, path="none/at/all", bucket="ddocker")
        assert (answer.status, answer.text) == (
            2,
            f'no link named "{cipher.encrypt_name("none")}" under {root.cid}',
        )
        answer = await ask(space_daemon, method, path="blobs/sha256:cd", bucket="ddocker")
        assert answer.text == f'no link named "{cipher.encrypt_name("sha256:cd")}" under {blobs.cid}'
    answer = await ask(space_daemon, "RemoveDirOrFile", path="none", bucket="ddocker")
    assert (answer.status, answer.text) == (2, "no link by that name")
    answer = await ask(space_daemon, "OpenFile", path="blobs", bucket="ddocker")
    assert answer.status == 2
    assert "no link named" not in answer.text


@pytest_twisted.ensureDeferred
async def test_what_ipfs_gets_is_encrypted(space_daemon: SpaceDouble) -> None:
    content = b"plain text " * 1000
    space_daemon.put_files({HEX: content, "same": content, "other": bytes(len(content))})
    record, files = space_daemon.record(), space_daemon.files()
    name = next(name for name, file in space_daemon.bucket().root.entries.items() if file is files[HEX])
    assert len(name) == 180
    assert record.cipher.decrypt_name(name) == HEX
    sealed = files[HEX].content.read(0, 1 << 20)
    assert len(sealed) == len(content) + 64
    assert files["same"].cid == files[HEX].cid
    # One keystream for all files: the exclusive or of two ciphertexts is that of the plaintexts.
    other = files["other"].content.read(0, 1 << 20)
    assert bytes(a ^ b for a, b in zip(sealed, other, strict=True))[:-64] == content


@pytest_twisted.ensureDeferred
async def test_corrupt_altered_and_cut_content(space_daemon: SpaceDouble) -> None:
    space_daemon.put_files({"a": b"abc", "b": b"bcd", "c": b"cde"})
    space_daemon.faults.corrupt.add(("ddocker", "a"))
    answer = await ask(space_daemon, "OpenFile", path="a", bucket="ddocker")
    assert (answer.status, answer.text) == (2, "message corrupt or incorrect keys")
    space_daemon.faults.corrupt.clear()
    assert (await open_file(space_daemon, "a")).read_bytes() == b"abc"
    space_daemon.faults.add(Fault("OpenFile", truncate=2))
    assert (await open_file(space_daemon, "b")).read_bytes() == b"bc"
    space_daemon.faults.add(Fault("OpenFile", alter=True))
    assert (await open_file(space_daemon, "c")).read_bytes()[1:] == b"de"
    # What has been done to a copy stays: nobody looks when it is handed out again.
    assert (await open_file(space_daemon, "b")).read_bytes() == b"bc"
    # Content that was really encrypted with another key.
    other = SpaceDouble()
    other.add_bucket()
    other.put_files({"x": b"secret"})
    draft = space_daemon.bucket().draft()
    space_daemon.service.link(space_daemon.record(), draft, "x", other.files()["x"])
    space_daemon.world.buckets.save_now(draft)
    answer = await ask(space_daemon, "OpenFile", path="x", bucket="ddocker")
    assert answer.text == "message corrupt or incorrect keys"
    await other.stop()


@pytest_twisted.ensureDeferred
async def test_listing(space_daemon: SpaceDouble) -> None:
    large = 300_000
    space_daemon.put_files(
        {"m/app.tar.gz": b"12345", "m/v1/x": b"", "m/.DS_Store": b"", ".keep": b"", "large": bytes(large)}
    )
    listed = (await get(space_daemon, "ListDirectory", path="/m", bucket="ddocker", omitMembers=True)).entries
    found = {entry.path: entry for entry in listed}
    assert set(found) == {"m/app.tar.gz", "m/v1"}
    file = found["m/app.tar.gz"]
    assert (file.name, file.isDir, file.sizeInBytes, file.fileExtension) == ("app.tar.gz", False, "5", "gz")
    assert file.ipfsHash == space_daemon.files()["m/app.tar.gz"].cid
    assert (file.isLocallyAvailable, len(file.members)) == (True, 0)
    assert found["m/v1"].isDir
    assert (await get(space_daemon, "ListDirectory", path="m/app.tar.gz", bucket="ddocker")).entries == []
    root = (await get(space_daemon, "ListDirectory", bucket="ddocker")).entries
    sizes = {entry.name: int(entry.sizeInBytes) for entry in root}
    assert set(sizes) == {"m", ".keep", "large"}
    # The seed of the buckd inside is there, and hidden; a size above one block is not the content's.
    assert ".textileseed" in space_daemon.bucket().root.entries
    assert sizes["large"] > large
    assert [member.publicKey for member in root[0].members] == [space_daemon.account.public_key]
    below = (await get(space_daemon, "ListDirectories", bucket="ddocker", omitMembers=True)).entries
    assert {entry.path for entry in below} == {".keep", "large", "m", "m/app.tar.gz", "m/v1", "m/v1/x"}


@pytest_twisted.ensureDeferred
async def test_removing(space_daemon: SpaceDouble) -> None:
    space_daemon.put_files({"m/a": b"1", "m/b": b"2", "c": b"3"})
    await get(space_daemon, "RemoveDirOrFile", path="m/a", bucket="ddocker")
    assert set(space_daemon.files()) == {"m/b", "c"}
    await get(space_daemon, "RemoveDirOrFile", path="m", bucket="ddocker")
    assert set(space_daemon.files()) == {"c"}


@pytest_twisted.ensureDeferred
async def test_files_of_a_directory_are_limited_by_its_block(tmp_path: Path) -> None:
    double = SpaceDouble(limits=Limits(directory_block=3000)).start()
    double.add_bucket()
    names = [f"sha256:{number:064x}" for number in range(20)]
    seen = await add(double, write(tmp_path, dict.fromkeys(names, b"x")), "blobs")
    stored = [done for done in seen if not done.result.error]
    blobs = next(node for node in double.bucket().root.entries.values() if isinstance(node, Directory))
    assert 10 < len(stored) == len(blobs.entries) < 15
    assert seen[-1].result.error.startswith("rpc error: code = Unknown desc = produced block is over 1MiB")
    await double.stop()


def test_a_flat_directory_ends_at_about_4600_blobs(space_daemon: SpaceDouble) -> None:
    """With names as long as they are once encrypted: half of what a plain bucket of Textile holds."""
    record, draft = space_daemon.record(), space_daemon.bucket().draft()
    space_daemon.put_files({"x": b"x"})
    file = space_daemon.files()["x"]

    def link(number: int) -> None:
        space_daemon.service.link(record, draft, f"blobs/sha256:{number:064x}", file)

    for number in range(4500):
        link(number)
    with pytest.raises(RpcError, match="produced block is over 1MiB"):
        list(map(link, range(4500, 4700)))


@pytest.mark.parametrize("slug", ["", "personal"])
@pytest_twisted.ensureDeferred
async def test_default_bucket(space_daemon: SpaceDouble, tmp_path: Path, slug: str) -> None:
    await add(space_daemon, write(tmp_path, {"a": b"1"}), bucket=slug)
    assert set(space_daemon.files("personal")) == {"a"}
