"""The parts that hold the backend together: locks of paths, the index of sizes, listings, texts."""

import errno
import os
from pathlib import Path

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.bucket.errors import BucketError, Full, NotFound, SetupError, Unavailable
from ipfsreg.bucket.space.errors import NoKeyPair, daemon_error, meaning_of
from ipfsreg.bucket.space.path_locks import PathLocks
from ipfsreg.bucket.space.sizes import SizeIndex, digest_of_link
from ipfsreg.bucket.space.small_files import SmallFileLog
from ipfsreg.bucket.space.staging import Staging
from ipfsreg.grpcweb.errors import ConnectionBroken, GrpcError
from ipfsreg.grpcweb.metadata import NO_METADATA
from ipfsreg.grpcweb.status import GrpcStatus
from tests.bucket.contract import together
from tests.bucket.running import pause, running

from .backend import LIMIT, Backend
from .double import Fault, SpaceDouble
from .registry import logged, served, text_of

pytest_plugins = ["tests.bucket.space.double.fixtures"]

A, B = "sha256:" + "a" * 64, "sha512:" + "b" * 128


@pytest_twisted.ensureDeferred
async def test_nothing_gets_into_a_directory_that_is_going(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    """The daemon removes a directory with whatever is in it by then."""
    async with running(Backend(space_daemon, tmp_path / "daemon")) as backend:
        bucket = backend.bucket
        await bucket.put("d/e/f/last", b"x")
        await bucket.put("other", b"x")
        space_daemon.faults.add(Fault("RemoveDirOrFile", delay=0.3))

        async def put_meanwhile(path: str) -> None:
            while not space_daemon.calls.of("RemoveDirOrFile"):
                await pause(0.005)
            await bucket.put(path, b"new")

        await together(bucket.remove("d/e/f/last"), *(put_meanwhile(path) for path in ("d/e/f/new", "d/g", "e/f")))
        (removal,) = space_daemon.calls.of("RemoveDirOrFile")
        assert removal.request.path == "d"  # all of it in one call, which leaves no empty directory behind
        for path in ("d/e/f/new", "d/g", "e/f"):
            assert await bucket.get(path, LIMIT) == b"new"
        begun = {record.request.targetPath: record.started for record in space_daemon.calls.of("AddItems")}
        assert (removal.finished or 0.0) <= begun["d/e/f"]


@pytest_twisted.ensureDeferred
async def test_a_directory_into_which_something_comes_stays(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    async with running(Backend(space_daemon, tmp_path / "daemon")) as backend:
        bucket = backend.bucket
        await bucket.put("d/e/last", b"x")
        space_daemon.faults.add(Fault("AddItems", delay=0.2))
        coming = bucket.put("d/e/new", b"new")
        while len(space_daemon.calls.of("AddItems")) < 2:
            await pause(0.005)
        await bucket.remove("d/e/last")
        (removal,) = space_daemon.calls.of("RemoveDirOrFile")
        assert removal.request.path == "d/e/last"
        await coming
        assert await bucket.get("d/e/new", LIMIT) == b"new"


@pytest_twisted.ensureDeferred
async def test_a_listing_that_took_too_long_gets_more_time(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    space_daemon.put_files({f"d/{number}": b"x" for number in range(10)})
    async with running(Backend(space_daemon, tmp_path / "daemon")) as backend:
        assert await backend.bucket.list("none") == []
        backend.client.timeout = 0.2
        space_daemon.faults.entry_seconds = 0.05  # half a second for all
        with pytest.raises(Unavailable):
            await backend.bucket.list("d")
        backend.client.timeout = 0.3
        assert len(await backend.bucket.list("d")) == 10


@pytest_twisted.ensureDeferred
async def test_what_is_only_read_when_wanted(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    with logged() as events:
        async with served(tmp_path / "daemon", space_daemon):
            pass
    assert "not scrubbed unless [scrub] interval is set: the Space Daemon makes a plaintext copy" in text_of(events)


@pytest_twisted.ensureDeferred
async def test_path_locks() -> None:
    locks = PathLocks()
    inside: set[str] = set()

    async def change(*paths: str) -> None:
        for _ in range(5):
            async with locks.of(*paths):
                assert not inside & set(paths)
                inside.update(paths)
                await pause(0.0)
                inside.difference_update(paths)

    await together(change("a", "b"), change("b", "a"), change("b", "c"), change("c", "a"), change("a"))
    async with locks.adding("a/b"):
        for directory, free in (("a/b", False), ("a", False), ("a/b/c", True), ("a/bc", True), ("b", True)):
            async with locks.removing(directory) as held:
                assert held is free


@given(st.text(max_size=200), st.booleans())
def test_only_one_text_means_that_a_file_is_missing(text: str, absent: bool) -> None:
    meaning = meaning_of(text, "OpenFile" if absent else "AddItems")
    assert isinstance(meaning, BucketError)
    assert not isinstance(meaning, NotFound) or (absent and "no link named" in text)
    assert "\n" not in str(meaning)
    assert isinstance(meaning_of('no link named "x" under bafy', "OpenFile"), NotFound)


@given(st.sampled_from(list(GrpcStatus)))
def test_no_other_code_means_that(code: GrpcStatus) -> None:
    error = daemon_error(GrpcError(code, 'no link named "x" under bafy', NO_METADATA), "OpenFile")
    assert isinstance(error, NotFound) is (code is GrpcStatus.UNKNOWN)
    assert isinstance(daemon_error(ConnectionBroken("x"), "OpenFile"), Unavailable)


def test_a_keyring_without_a_pair_says_so_in_its_own_way() -> None:
    """Seen on a real daemon: docs/protocols/space.md, "Access"."""
    error = GrpcError(GrpcStatus.UNKNOWN, "Key not found", NO_METADATA)
    assert isinstance(daemon_error(error, "GetPublicKey"), NoKeyPair)
    assert type(daemon_error(error, "ListBuckets")) is Unavailable


def test_the_index_of_sizes(tmp_path: Path) -> None:
    index = SizeIndex(tmp_path / "sizes")
    index.load()
    for digest, content in ((A, b"12345\n"), (B, b"0\n")):
        line = index.learn(digest, content)
        assert line is not None
        index.save(line)
    assert index.learn(A, b"12345\n") is None
    assert index.learn("sha256:" + "c" * 64, b"not a size") is None
    with (tmp_path / "sizes").open("a") as file:
        file.write("sha256:" + "d" * 64 + " 12")  # torn by a kill
    again = SizeIndex(tmp_path / "sizes")
    again.load()
    assert (again.get(A), again.get(B), again.length(A)) == (b"12345\n", b"0\n", 12345)
    assert again.get("sha256:" + "d" * 64) is None
    # What is appended to the torn line is lost, and what comes after that is not.
    for digest in ("sha256:" + "e" * 64, "sha256:" + "f" * 64):
        again.save(again.learn(digest, b"1\n") or "")
    last = SizeIndex(tmp_path / "sizes")
    last.load()
    assert [last.length("sha256:" + letter * 64) for letter in "adef"] == [12345, None, None, 1]


def test_a_long_index_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipfsreg.bucket.space.sizes.KNOWN_MAX", 4)
    digests = [f"sha256:{number:064x}" for number in range(20)]
    (tmp_path / "sizes").write_text("".join(f"{digest} 1\n" for digest in digests))
    (tmp_path / ".sizes-0123456789abcdef").touch()  # left by a kill
    index = SizeIndex(tmp_path / "sizes")
    index.load()
    assert (tmp_path / "sizes").read_text() == "".join(f"{digest} 1\n" for digest in digests[-4:])
    assert index.length(digests[-1]) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "sizes"]


def test_small_files_on_disk(tmp_path: Path) -> None:
    file = tmp_path / "small-files"
    (tmp_path / ".small-files-0123456789abcdef").touch()  # left by a kill
    kept = SmallFileLog(file)
    assert list(kept.load()) == []
    files = [("d/a", "bafya", b"\0\xff\n"), ("d/\u00fc", "bafyb", b""), ("d/a", "bafyc", b"later")]
    for each in files:
        kept.save(*each)
    with file.open("ab") as torn:  # by a kill
        torn.write(b'["d/b", "bafyd", "QUJD')
    assert list(SmallFileLog(file).load()) == files
    # What is appended to the torn line is lost, and what comes after that is not.
    for name in ("d/e", "d/f"):
        kept.save(name, "bafy", b"x")
    assert list(SmallFileLog(file).load()) == [*files, ("d/f", "bafy", b"x")]
    file.write_bytes(b'{}\n[1, 2, 3]\n["a", "b", "c", "d"]\n["a", "b", "!"]\n\xff\n')
    assert list(SmallFileLog(file).load()) == []
    kept.write_anew(files[:1])
    assert list(SmallFileLog(file).load()) == files[:1]
    assert kept.length == file.stat().st_size
    assert list(tmp_path.iterdir()) == [file]


@pytest_twisted.ensureDeferred
async def test_small_files_on_disk_stay_few(
    space_daemon: SpaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipfsreg.bucket.space.small_files.MEMORY", 10_000)
    monkeypatch.setattr("ipfsreg.bucket.space.small_files.DISK", 20_000)
    async with running(Backend(space_daemon, tmp_path)) as backend:
        for number in range(30):
            await backend.bucket.put("d/f", os.urandom(1000))
            await backend.bucket.put(f"d/{number % 3}", os.urandom(1000))
            assert (tmp_path / "small-files").stat().st_size <= 20_000
        last = await backend.bucket.get("d/f", LIMIT)
    space_daemon.calls.clear()
    async with running(Backend(space_daemon, tmp_path)) as backend:
        assert await backend.bucket.get("d/f", LIMIT) == last
        assert space_daemon.calls.of("OpenFile") == []
        # Of somebody else since: what is on this disk is not it.
        space_daemon.put_files({"d/f": b"another"})
        assert await backend.bucket.get("d/f", LIMIT) == b"another"


@pytest.mark.parametrize(
    ("path", "digest"),
    [
        (f"repositories/team/app/_blobs/sha256/aa/{'a' * 64}", A),
        (f"repositories/team/app/_manifests/sha256/aa/{'a' * 64}", None),
        (f"blobs/sha256/aa/{'a' * 64}", None),
        ("repositories/a/_tags/1", None),
    ],
)
def test_which_paths_are_links(path: str, digest: str | None) -> None:
    assert digest_of_link(path) == digest


def test_staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging = Staging(tmp_path / "staging")
    staging.prepare()
    source = tmp_path / "source"
    source.write_bytes(b"content")
    first, second = staging.place("sha256:ab", source), staging.place("sha256:ab", b"other")
    assert (first.name, second.name) == ("sha256:ab", "sha256:ab")
    assert first.parent != second.parent
    assert first.samefile(source)
    # Where there are no hard links it is a copy.
    monkeypatch.setattr(os, "link", _fails(errno.EXDEV))
    third = staging.place("x", source)
    assert third.read_bytes() == b"content"
    assert not third.samefile(source)
    monkeypatch.setattr("shutil.copyfile", _fails(errno.ENOSPC))
    with pytest.raises(Full):
        staging.place("y", source)
    for staged in (first, second, third):
        staging.remove(staged)
    assert list((tmp_path / "staging").iterdir()) == []
    assert source.read_bytes() == b"content"
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="change `path`"):
        Staging(tmp_path / "file" / "staging").prepare()


def test_staging_takes_away_only_what_is_its_own(tmp_path: Path) -> None:
    """A user may have named a directory that has something of theirs in a `staging` already."""
    directory = tmp_path / "staging"
    ours, theirs = directory / ("0123456789abcdef" * 2), directory / "documents"
    for each in (ours, theirs):
        each.mkdir(parents=True)
        (each / "f").write_text("x")
    (directory / "important.txt").write_text("x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f").write_text("x")
    (directory / ("f" * 32)).symlink_to(elsewhere)
    Staging(directory).prepare()
    assert not ours.exists()
    assert (theirs / "f").read_text() == (directory / "important.txt").read_text() == "x"
    assert (elsewhere / "f").read_text() == "x"


def _fails(number: int) -> object:
    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail
