"""The accounting of the cache's files, against a model."""

import errno
import os
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ipfsreg.bucket.cache.cache_directory import TOUCH_EVERY, CacheDirectory, CacheDraft, cache_disk_error, cost
from ipfsreg.bucket.content_path import content_at
from ipfsreg.bucket.errors import Full, NotFound, Unavailable
from tests.full import examples

MAXIMUM = 10 * 4096
PATHS = st.sampled_from([f"blobs/sha256:{digit * 64}" for digit in "abcdef"] + ["a.b/c.1.2"])


class Accounting(RuleBasedStateMachine):
    """Each step is more than `TOUCH_EVERY` after the one before, so that a restart knows the exact order."""

    drafts = Bundle("drafts")

    def __init__(self) -> None:
        super().__init__()
        self.temporary = TemporaryDirectory()
        self.top = Path(self.temporary.name)
        self.now = 1e9
        self.kept: OrderedDict[str, bytes] = OrderedDict()
        self.pending: dict[Path, bytes] = {}
        self.files: list[IO[bytes]] = []
        self.restart()

    def clock(self) -> float:
        return self.now

    def evict(self) -> None:
        while self.kept and self.used() > MAXIMUM:
            self.kept.popitem(last=False)

    def used(self) -> int:
        return sum(cost(len(content)) for content in self.kept.values()) + sum(map(len, self.pending.values()))

    @rule()
    def restart(self) -> None:
        self.pending.clear()
        self.directory = CacheDirectory(self.top, MAXIMUM, self.clock)
        self.directory.prepare()

    @rule(
        target=drafts, sizes=st.lists(st.integers(0, 3 * 4096 + 1), max_size=5), fill=st.binary(min_size=1, max_size=1)
    )
    def write(self, sizes: list[int], fill: bytes) -> CacheDraft:
        draft = self.directory.create()
        self.pending[draft.path] = b""
        assert draft.file is not None
        self.files.append(draft.file)
        for size in sizes:
            self.directory.append(draft, [fill * (size // 2), fill * (size - size // 2)])
            self.pending[draft.path] += fill * size
            self.evict()
        return draft

    @rule(draft=consumes(drafts), path=PATHS, wanted=st.booleans())
    def keep(self, draft: CacheDraft, path: str, wanted: bool) -> None:
        if draft.path not in self.pending:  # a restart threw it away
            return
        self.now += TOUCH_EVERY + 1
        self.directory.keep(path, draft, lambda: wanted)
        content = self.pending.pop(draft.path)
        if wanted:
            self.kept.pop(path, None)
            if cost(len(content)) <= MAXIMUM:
                self.kept[path] = content
            self.evict()
        assert draft.file is not None
        assert os.pread(draft.file.fileno(), len(content) + 1, 0) == content

    @rule(draft=consumes(drafts))
    def discard(self, draft: CacheDraft) -> None:
        if self.pending.pop(draft.path, None) is not None:
            self.directory.discard(draft)
            self.directory.discard(draft)

    @rule(path=PATHS)
    def open(self, path: str) -> None:
        self.now += TOUCH_EVERY + 1
        file = self.directory.open(path)
        assert (file is not None) == (path in self.kept)
        if file is not None:
            with file:
                assert file.read() == self.kept[path]
            self.kept.move_to_end(path)

    @rule(path=PATHS)
    def drop(self, path: str) -> None:
        self.directory.drop(path)
        self.kept.pop(path, None)

    @rule()
    def evict_one(self) -> None:
        assert self.directory.evict_one() == bool(self.kept)
        if self.kept:
            self.kept.popitem(last=False)

    @invariant()
    def is_as_the_model(self) -> None:
        assert list(self.directory.paths()) == list(self.kept)
        assert self.directory.used == self.used()
        assert not self.kept or self.used() <= MAXIMUM
        assert [self.directory.size(path) for path in self.kept] == [len(each) for each in self.kept.values()]
        assert sorted(each.stat().st_size for each in (self.top / "kept").iterdir()) == sorted(
            map(len, self.kept.values())
        )
        assert {each.name for each in (self.top / "drafts").iterdir()} == {path.name for path in self.pending}

    def teardown(self) -> None:
        for file in self.files:
            file.close()
        self.temporary.cleanup()


Accounting.TestCase.settings = settings(max_examples=examples(10, 40), stateful_step_count=30, deadline=None)
test_accounting = Accounting.TestCase


def keep(directory: CacheDirectory, path: str, content: bytes) -> None:
    draft = directory.create()
    directory.append(draft, [content])
    directory.keep(path, draft, lambda: True)
    assert draft.file is not None
    draft.file.close()


def test_use_is_written_down_once_a_minute(tmp_path: Path) -> None:
    now = 1e9
    directory = CacheDirectory(tmp_path, MAXIMUM, lambda: now)
    directory.prepare()
    keep(directory, "path", b"content")
    (file,) = (tmp_path / "kept").iterdir()
    for passed, written in ((59, 1e9), (61, 1e9 + 61), (120, 1e9 + 61), (122, 1e9 + 122)):
        now = 1e9 + passed
        opened = directory.open("path")
        assert opened is not None
        opened.close()
        assert file.stat().st_mtime == written


def test_a_file_that_was_cut_is_not_served(tmp_path: Path) -> None:
    directory = CacheDirectory(tmp_path, MAXIMUM)
    directory.prepare()
    keep(directory, "while running", b"content")
    os.truncate(next((tmp_path / "kept").iterdir()), 3)
    assert directory.open("while running") is None
    keep(directory, "before a start", b"content")
    os.truncate(next((tmp_path / "kept").iterdir()), 3)
    directory.prepare()
    assert directory.paths() == []
    assert directory.used == 0
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_full_disk_takes_what_can_be_evicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = CacheDirectory(tmp_path, MAXIMUM)
    directory.prepare()
    for name in ("first", "second", "third"):
        keep(directory, name, b"content")
    real = os.pwrite

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        if len(directory.paths()) > 1:
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, data[:5], offset)  # the system may also take less than it was given

    def never(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.EDQUOT, "over quota")

    monkeypatch.setattr(os, "pwrite", pwrite)
    draft = directory.create()
    directory.append(draft, [b"one two", b" three"])
    assert draft.file is not None
    assert draft.path.read_bytes() == b"one two three"
    assert directory.paths() == ["third"]
    monkeypatch.setattr(os, "pwrite", never)
    with pytest.raises(Full):
        directory.append(draft, [b"more"])
    directory.discard(draft)
    draft.file.close()
    assert directory.used == 0


def test_trouble_with_the_disk_is_never_an_absence() -> None:
    assert type(cache_disk_error(OSError(errno.ENOSPC, ""))) is Full
    for number in (errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.EACCES):
        assert type(cache_disk_error(OSError(number, ""))) is Unavailable
    assert not issubclass(Unavailable, NotFound)


A, B = "ab" * 32, "cd" * 64


@pytest.mark.parametrize(
    ("path", "algorithm", "digits"),
    [
        (f"blobs/sha256/ab/{A}", "sha256", A),
        (f"blobs/sha512/cd/{B}", "sha512", B),
        (f"blobs/sha256:{A}", "sha256", A),
    ],
)
def test_a_path_that_says_its_digest(path: str, algorithm: str, digits: str) -> None:
    content = content_at(path)
    assert content is not None
    assert (content.path, content.algorithm, content.hex) == (path, algorithm, digits)


@pytest.mark.parametrize(
    "path",
    [
        f"blobs/sha256/cd/{A}",
        f"blobs/sha256/ab/{A[:-1]}",
        f"blobs/sha512/ab/{A}",
        f"blobs/md5/ab/{A}",
        f"blobs/sha256/AB/{A.upper()}",
        f"blobs/sha256/ab/{A}\n",
        f"quarantine/sha256/ab/{A}",
        f"repositories/x/_blobs/sha256/ab/{A}",
        "manifests/busybox/latest",
    ],
)
def test_a_path_that_does_not(path: str) -> None:
    assert content_at(path) is None
