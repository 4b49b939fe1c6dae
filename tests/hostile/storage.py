"""What somebody who holds the storage does to an encrypted directory. The same for a seed.

Each change is made below `directory`, and taken back by `Storage.restore`, which puts the same bytes back.
"""

import os
import random
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ipfsreg.encryption.documents import (
    BucketDocument,
    Member,
    Role,
    encode,
    encode_bucket,
    encode_member,
    keys_path,
    member_path,
)
from ipfsreg.encryption.member_key import MemberKey

Change = Callable[[random.Random, Path], None]

_NAMES = (
    b"\xff\xfe\x80", b"a\nb", b"\x1b[31mred\x1b[0m", b"a" * 255, b"A" * 52, b"aaaaaaaa", b"..a", b"...", b" ",
    "é𐍈\u202e".encode(), b"mfrggzdf" * 8, b"a=", b"a\r\n\r\nHTTP 200 OK", b"{}", b"%s%n", b"-rf",
)  # fmt: skip
"""Names that are no tokens."""


def _flip(chance: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _cut(chance: random.Random, path: Path) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size + 1))


def _lengthen(chance: random.Random, path: Path) -> None:
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.choice((1, 104, 300_000))))


def _random(chance: random.Random, path: Path) -> None:
    path.write_bytes(chance.randbytes(path.stat().st_size))


def _sparse(chance: random.Random, path: Path) -> None:
    """As long as the file system lets it be, and with the old beginning."""
    os.truncate(path, 1 << 42)


def _directory(chance: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()
    if chance.random() < 0.5:
        (path / "somebodys").write_bytes(b"x")


def _link(chance: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(chance.choice(("/etc/hostname", "/dev/zero", "/nowhere", str(path), "..", "/proc/self/mem")))


def _fifo(chance: random.Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _socket(chance: random.Random, path: Path) -> None:
    path.unlink()
    parent = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"/proc/self/fd/{parent}/{path.name[:20]}")
        os.rename(path.with_name(path.name[:20]), path)
    finally:
        os.close(parent)


def _device(chance: random.Random, path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: it would never end
    except PermissionError:
        os.mkfifo(path)


def _remove(chance: random.Random, path: Path) -> None:
    path.unlink()


CHANGES: tuple[Change, ...] = (
    _flip, _flip, _cut, _lengthen, _random, _sparse, _directory, _link, _fifo, _socket, _device, _remove,
)  # fmt: skip
"""What may become of one file."""


class Storage:
    """The directory of an encrypted bucket, whole when this is made."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self._chance = random.Random(seed)
        self._copy = directory.with_name("copy-of-the-bucket")
        shutil.copytree(directory, self._copy)

    def files(self) -> list[Path]:
        """All files, but for the mark, in order."""
        found = (each for each in self._copy.rglob("*") if each.is_file() and each.name != ".bucket")
        return sorted(self.directory / each.relative_to(self._copy) for each in found)

    def restore(self) -> None:
        """Put back what was there; the mark stays."""
        for each in self.directory.iterdir():
            if each.name != ".bucket":
                _remove_all(each)
        for each in self._copy.iterdir():
            if each.is_dir():
                shutil.copytree(each, self.directory / each.name)
            elif each.name != ".bucket":
                shutil.copy(each, self.directory / each.name)

    def change_files(self) -> None:
        """Change each file, or some of them, in one way or another."""
        share = self._chance.choice((0.1, 0.5, 1.0))
        for path in self.files():
            if self._chance.random() < share:
                self._chance.choice(CHANGES)(self._chance, path)

    def swap(self) -> None:
        """Give each file the content of another."""
        paths = self.files()
        contents = [each.read_bytes() for each in paths]
        self._chance.shuffle(contents)
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)

    def change_directories(self) -> None:
        """Put something else in the place of some directories; one is moved into itself."""
        directories = sorted((each for each in self.directory.rglob("*") if each.is_dir()), reverse=True)
        for path in self._chance.sample(directories, max(1, len(directories) // 3)):
            if not path.is_dir():
                continue
            other = path.with_name("elsewhere")
            _remove_all(other)
            path.rename(other)
            match self._chance.randrange(5):
                case 0:
                    path.write_bytes(b"a file")
                case 1:
                    path.symlink_to(other)
                case 2:
                    os.mkfifo(path)
                case 3:
                    path.symlink_to("/")
                case _:
                    path.mkdir()
                    other.rename(path / path.name)

    def add_names(self, count: int) -> None:
        """Put entries that have no name of the bucket in every directory, and so many in some."""
        directories = [self.directory, *(each for each in self.directory.rglob("*") if each.is_dir())]
        for directory in directories:
            for name in _NAMES:
                path = os.path.join(os.fsencode(directory), name)
                if self._chance.random() < 0.5:
                    os.mkdir(path)
                else:
                    open(path, "wb").close()
        for directory in self._chance.sample(directories, min(3, len(directories))):
            for _ in range(count):
                (directory / _token(self._chance)).touch()

    def deepen(self, depth: int) -> None:
        """Directories in directories, beyond what a path can name."""
        at = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        for _ in range(depth):
            name = _token(self._chance)
            os.mkdir(name, dir_fd=at)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        os.close(at)


class Documents:
    """Forges the documents of a team, with keys of strangers; ``bucket_id`` is known to everybody."""

    def __init__(self, directory: Path, bucket_id: bytes, seed: int) -> None:
        self._directory = directory
        self._id = bucket_id
        self._chance = random.Random(seed)
        self._key = MemberKey(self._chance.randbytes(32))

    def members(self, count: int) -> None:
        """Strangers who say that they are owners, and have signed it themselves."""
        for _ in range(count):
            stranger = MemberKey(self._chance.randbytes(32))
            member = Member(stranger.public, "x" * 64, Role.OWNER, 1, writes=(1, None), counter=2**53 - 1)
            self._put(member_path(stranger.public), encode_member(stranger, self._id, member))

    def odd_members(self, count: int) -> None:
        """Records whose signature holds, and of which nothing else does."""
        payloads = list(_odd_payloads())
        for _ in range(count):
            public = MemberKey(self._chance.randbytes(32)).public
            self._put(member_path(public), self._signed(member_path(public), self._chance.choice(payloads)))

    def generations(self, count: int, first: int = 2) -> None:
        """So many generations, with keys that a stranger has sealed to nobody."""
        for number in range(first, first + count):
            (self._directory / "encryption/keys" / str(number)).mkdir(exist_ok=True)

    def keys(self, public: bytes, generations: int) -> None:
        """Keys for a member, sealed by a stranger."""
        for number in range(1, generations + 1):
            path = keys_path(number, public)
            self._put(path, self._signed(path, b'{"generation":%d,"sealed":"%b"}' % (number, b"A" * 300)))

    def bucket(self) -> None:
        """Another founder, of the same bucket."""
        self._put("encryption/bucket", encode_bucket(self._key, BucketDocument(self._id, self._key.public, 2**53 - 1)))

    def overwrite(self, change: Change) -> None:
        """Change all documents that are there."""
        for path in sorted(self._directory.joinpath("encryption").rglob("*")):
            if path.is_file():
                change(self._chance, path)

    def _signed(self, path: str, payload: bytes) -> bytes:
        document = bytearray(encode(self._key, self._id, path, {}))
        del document[96:]
        text = b"ipfsreg document 1\0" + self._id + path.encode() + b"\0" + payload
        document[32:96] = self._key.sign(text)
        return bytes(document) + payload

    def _put(self, path: str, content: bytes) -> None:
        place = self._directory / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _odd_payloads() -> Iterator[bytes]:
    """JSON of at most 4 KiB that costs or confuses as much as it can."""
    yield b"[" * 4096
    yield b'{"a":' * 800
    yield b'{"name":' + b"[" * 2000 + b"]" * 2000 + b"}"
    yield b'{"counter":' + b"9" * 4000 + b"}"
    yield b'{"counter":1e4000}'
    yield b'{"counter":NaN,"name":null}'
    yield b'{"name":"\\ud800","role":"owner","since":1,"until":null,"writes":null,"counter":1}'
    yield b'{"name":"a\\nb","role":"owner","since":1,"until":null,"writes":null,"counter":1}'
    yield b'{"name":"a","role":["owner"],"since":1,"until":null,"writes":null,"counter":1}'
    yield b'{"name":"a","role":{},"since":1,"until":null,"writes":null,"counter":true}'
    yield b'{"name":"a","role":"owner","since":1,"until":null,"writes":[1,[]],"counter":1}'
    yield b'{"name":"a","role":"owner","since":1,"until":4294967295,"writes":[1,4294967295],"counter":1}'
    yield b"null"
    yield b"\xff\xfe"
    yield b"\0" * 4096


def _token(chance: random.Random) -> str:
    return "".join(chance.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(52))


def _remove_all(path: Path) -> None:
    """Remove whatever is there, however deep, and follow nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
