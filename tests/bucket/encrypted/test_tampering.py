"""What a storage can do to an encrypted bucket: each change is refused in one line that names the file.

The storage itself is asked to change what it has, so on a node of Kubo these are new blocks and a new state.
"""

import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import BucketError, Corrupt, KeyMissing, NotFound
from ipfsreg.bucket.interface import Entry
from ipfsreg.encryption.chunks import CHUNK, HEADER_SIZE, OVERHEAD, SEAL_SIZE, STORED_CHUNK
from ipfsreg.encryption.names import names_of
from tests.bucket.helpers import LIMIT, read
from tests.bucket.kubo.backend import KuboStorage
from tests.bucket.kubo.conftest import node
from tests.bucket.kubo.node import KuboNode
from tests.bucket.test_local import LocalStorage

from .keys import ChangingKeyring, keyring
from .storage import EncryptedStorage

__all__ = ["node"]

LARGE = os.urandom(3 * CHUNK + 1234)
SMALL = b"sha256:" + b"ab" * 32 + b"\n"
TAG, BLOB, OTHER_TAG, OTHER_BLOB = "repositories/a/_tags/v1", "blobs/ab/1", "repositories/a/_tags/v2", "blobs/ab/2"


def flip(at: int) -> Callable[[bytes], bytes]:
    """Change a bit of the byte ``at``."""

    def change(file: bytes) -> bytes:
        altered = bytearray(file)
        altered[at] ^= 0x10
        return bytes(altered)

    return change


def begin(file: bytes) -> int:
    """Where the chunks begin."""
    return HEADER_SIZE if file[9] else HEADER_SIZE + SEAL_SIZE


def chunk(file: bytes, number: int) -> slice:
    return slice(begin(file) + number * STORED_CHUNK, begin(file) + (number + 1) * STORED_CHUNK)


def reorder(file: bytes) -> bytes:
    altered = bytearray(file)
    altered[chunk(file, 0)], altered[chunk(file, 1)] = file[chunk(file, 1)], file[chunk(file, 0)]
    return bytes(altered)


def repeat(file: bytes) -> bytes:
    altered = bytearray(file)
    altered[chunk(file, 2)] = file[chunk(file, 1)]
    return bytes(altered)


def move_the_seal(file: bytes) -> bytes:
    """Say that the seal is where it is not."""
    return file[:9] + bytes([1 - file[9]]) + file[10:]


def end_of_chunks(file: bytes) -> int:
    return len(file) - (SEAL_SIZE if file[9] else 0)


WHOLE = {
    "a bit of the magic": flip(3),
    "the version": flip(8),
    "where the seal is": move_the_seal,
    "the zeros of the header": flip(12),
    "the file's id": flip(20),
    "the end of the header": flip(63),
    "a byte is cut off": lambda file: file[:-1],
    "a byte more": lambda file: file + b"\0",
    "the last chunk is cut off": lambda file: file[: end_of_chunks(file) - OVERHEAD - 1],
    "nothing is left": lambda file: b"",
    "the header is left": lambda file: file[:HEADER_SIZE],
    "zeros": lambda file: bytes(len(file)),
    "it is plain": lambda file: b"1\n",
}
"""Changes of which nothing is served at all."""

PARTS = {
    "the nonce of the first chunk": (0, lambda file: flip(begin(file))(file)),
    "the first byte": (0, lambda file: flip(begin(file) + 24)(file)),
    "a byte of the second chunk": (1, lambda file: flip(begin(file) + STORED_CHUNK + 5000)(file)),
    "the signature of the second chunk": (1, lambda file: flip(begin(file) + 2 * STORED_CHUNK - 1)(file)),
    "the tag of the third chunk": (2, lambda file: flip(begin(file) + 3 * STORED_CHUNK - 70)(file)),
    "a byte of the last chunk": (3, lambda file: flip(end_of_chunks(file) - 80)(file)),
    "two chunks change places": (0, reorder),
    "a chunk is there twice": (2, repeat),
}
"""Changes of a large file, with the number of the first chunk that is refused."""


async def put_raw(storage: EncryptedStorage, path: str, content: bytes) -> None:
    await storage.below.bucket.put_file(path, storage.below.spooled(content))


def at(storage: EncryptedStorage, path: str) -> str:
    """Where a file is stored."""
    return names_of(storage.keys.current().name_key).path(path)


async def alter(storage: EncryptedStorage, path: str, change: Callable[[bytes], bytes]) -> None:
    """Let the storage change what it has for a path."""
    token = at(storage, path)
    await put_raw(storage, token, change(await read(storage.below.bucket, token)))


async def served(storage: EncryptedStorage, path: str) -> tuple[bytes, BucketError | None]:
    """What comes of reading a file, and how that ends."""
    found = b""
    try:
        reader = await storage.bucket.open(path)
        try:
            assert reader.size is not None
            async with aclosing(reader.pieces(0, reader.size)) as pieces:
                async for piece in pieces:
                    found += piece
        finally:
            reader.close()
    except BucketError as error:
        return found, error
    return found, None


async def refused(storage: EncryptedStorage, path: str, error: BucketError | None) -> None:
    """The failure is one line that names the file, and so is that of reading it as a small one."""
    assert isinstance(error, Corrupt | KeyMissing)
    for each in (error, await failure_of_get(storage, path)):
        assert path in str(each)
        assert "\n" not in str(each)


async def failure_of_get(storage: EncryptedStorage, path: str) -> BucketError:
    with pytest.raises((Corrupt, KeyMissing)) as failure:
        await storage.bucket.get(path, 8 * LIMIT)
    return failure.value


class Tampering:
    """On any storage."""

    async def fill(self, storage: EncryptedStorage) -> None:
        for path in (TAG, OTHER_TAG):
            await storage.bucket.put(path, SMALL)
        for path in (BLOB, OTHER_BLOB):
            source = storage.below.spooled(b"").with_suffix(storage.spool.suffix)
            descriptor = os.open(source, os.O_RDWR | os.O_CREAT)
            storage.spool.begin(descriptor)
            appender = storage.spool.appender(descriptor, 0)
            appender.write(LARGE)
            appender.flush()
            os.close(descriptor)
            await storage.bucket.put_file(path, source)
        for path, content in {TAG: SMALL, BLOB: LARGE, OTHER_BLOB: LARGE}.items():
            assert await served(storage, path) == (content, None)

    @pytest_twisted.ensureDeferred
    async def test_of_a_changed_file_nothing_is_served(self, storage: EncryptedStorage) -> None:
        for path in (TAG, BLOB):
            token = at(storage, path)
            whole = await read(storage.below.bucket, token)
            changes = dict(WHOLE)
            seal = len(whole) - SEAL_SIZE if whole[9] else HEADER_SIZE
            for where in (0, 4, 10, 28, 100, SEAL_SIZE - 1):
                changes[f"byte {where} of the seal"] = flip(seal + where)
            for what, change in changes.items():
                await put_raw(storage, token, change(whole))
                found, error = await served(storage, path)
                assert found == b"", what
                assert error is not None, what
                await refused(storage, path, error)
            await put_raw(storage, token, whole)
            assert (await served(storage, path))[1] is None

    @pytest_twisted.ensureDeferred
    async def test_nothing_of_a_changed_chunk_is_served(self, storage: EncryptedStorage) -> None:
        whole = await read(storage.below.bucket, at(storage, BLOB))
        for what, (first, change) in PARTS.items():
            await put_raw(storage, at(storage, BLOB), change(whole))
            found, error = await served(storage, BLOB)
            assert found == LARGE[: first * CHUNK], what
            await refused(storage, BLOB, error)
            # A range that does not touch it is served: of the last chunk, or of the first.
            if what != "two chunks change places":
                reader = await storage.bucket.open(BLOB)
                offset = 0 if first else CHUNK
                assert b"".join([each async for each in reader.pieces(offset, 100)]) == LARGE[offset : offset + 100]
                with pytest.raises(Corrupt, match=re.escape(BLOB)):
                    _ = [each async for each in reader.pieces(first * CHUNK + 7, 1)]
                reader.close()

    @pytest_twisted.ensureDeferred
    async def test_files_that_change_places(self, storage: EncryptedStorage) -> None:
        raw = {path: await read(storage.below.bucket, at(storage, path)) for path in (TAG, OTHER_TAG, BLOB, OTHER_BLOB)}
        for one, two in ((TAG, OTHER_TAG), (BLOB, OTHER_BLOB), (TAG, BLOB)):
            await put_raw(storage, at(storage, one), raw[two])
            await put_raw(storage, at(storage, two), raw[one])
            for path in (one, two):
                found, error = await served(storage, path)
                assert found == b""
                await refused(storage, path, error)
            for path in (one, two):
                await put_raw(storage, at(storage, path), raw[path])

    @pytest_twisted.ensureDeferred
    async def test_a_chunk_and_a_seal_of_another_file(self, storage: EncryptedStorage) -> None:
        whole = await read(storage.below.bucket, at(storage, BLOB))
        other = await read(storage.below.bucket, at(storage, OTHER_BLOB))
        seal = slice(-SEAL_SIZE, None) if whole[9] else slice(HEADER_SIZE, HEADER_SIZE + SEAL_SIZE)
        for part, served_first in ((chunk(whole, 1), CHUNK), (seal, 0), (slice(0, HEADER_SIZE), 0)):
            altered = bytearray(whole)
            altered[part] = other[part]
            await put_raw(storage, at(storage, BLOB), bytes(altered))
            found, error = await served(storage, BLOB)
            assert found == LARGE[:served_first]
            await refused(storage, BLOB, error)

    @pytest_twisted.ensureDeferred
    async def test_a_file_of_another_generation(self, storage: EncryptedStorage) -> None:
        keys = storage.keys
        assert isinstance(keys, ChangingKeyring)
        old = {path: await read(storage.below.bucket, at(storage, path)) for path in (OTHER_TAG, OTHER_BLOB)}
        keys.rotate()
        await storage.bucket.put(TAG, SMALL)
        await storage.bucket.put(BLOB, LARGE)
        new = {path: await read(storage.below.bucket, at(storage, path)) for path in (TAG, BLOB)}
        for path, replay in ((TAG, OTHER_TAG), (BLOB, OTHER_BLOB)):
            await put_raw(storage, at(storage, path), old[replay])
            found, error = await served(storage, path)
            assert found == b""
            await refused(storage, path, error)
            # Nor does it help to say that it is of the other one.
            relabelled = new[path][:HEADER_SIZE] + (1).to_bytes(4) + new[path][HEADER_SIZE + 4 :]
            await put_raw(storage, at(storage, path), relabelled)
            found, error = await served(storage, path)
            assert found == b""
            await refused(storage, path, error)
        # What was written before the rotation is read as before.
        assert await served(storage, OTHER_BLOB) == (LARGE, None)

    @pytest_twisted.ensureDeferred
    async def test_a_name_that_was_changed(self, storage: EncryptedStorage) -> None:
        token = at(storage, TAG)
        directory, _, name = token.rpartition("/")
        altered = name[:-2] + ("a" if name[-2] != "a" else "b") + name[-1]
        await storage.below.bucket.move(token, f"{directory}/{altered}")
        with pytest.raises(NotFound, match=re.escape(TAG)):
            await storage.bucket.get(TAG, LIMIT)
        entries = await storage.bucket.list("repositories/a/_tags")
        assert sorted(entries) == sorted([Entry("v2", False), Entry(altered, False, strange=True)])

    @pytest_twisted.ensureDeferred
    async def test_a_name_of_another_directory(self, storage: EncryptedStorage) -> None:
        """A directory that is given the name of another one: nothing in it can be read, and all of it is strange."""
        await storage.bucket.put("repositories/b/_tags/v1", SMALL)
        names = names_of(storage.keys.current().name_key)
        a, b = names.path("repositories/a"), names.path("repositories/b")
        below = storage.below.bucket
        moved = [token async for token in files_below(storage, a)]
        await below.remove(at(storage, "repositories/b/_tags/v1"))
        for token in moved:
            await below.move(token, token.replace(a, b))
        assert await storage.bucket.list("repositories/a") == []
        entries = await storage.bucket.list("repositories/b")
        assert [(entry.is_directory, entry.strange) for entry in entries] == [(True, True)]
        with pytest.raises(NotFound):
            await storage.bucket.get("repositories/b/_tags/v1", LIMIT)

    @pytest_twisted.ensureDeferred
    async def test_a_name_of_another_file_in_the_same_directory(self, storage: EncryptedStorage) -> None:
        await storage.below.bucket.move(at(storage, OTHER_TAG), at(storage, TAG))
        found, error = await served(storage, TAG)
        assert found == b""
        await refused(storage, TAG, error)

    @pytest_twisted.ensureDeferred
    async def test_what_was_changed_can_be_put_aside_and_replaced(self, storage: EncryptedStorage) -> None:
        for change in (WHOLE["the file's id"], WHOLE["a byte more"], lambda file: flip(len(file) - 300)(file)):
            await alter(storage, BLOB, change)
            await storage.bucket.move(BLOB, "quarantine/1")
            found, error = await served(storage, "quarantine/1")
            assert len(found) < len(LARGE)
            assert error is not None
            with pytest.raises(NotFound):
                await storage.bucket.stat(BLOB)
            await storage.bucket.put_file(BLOB, storage.spooled(LARGE))
            assert await served(storage, BLOB) == (LARGE, None)


async def files_below(storage: EncryptedStorage, directory: str) -> AsyncIterator[str]:
    async for listings in storage.below.bucket.walk(directory):
        for listing in listings:
            for entry in listing.entries:
                if not entry.is_directory:
                    yield f"{listing.directory}/{entry.name}"


class TestLocal(Tampering):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, tmp_path: Path) -> AsyncIterator[EncryptedStorage]:
        below = LocalStorage(tmp_path)
        await below.bucket.start()
        storage = EncryptedStorage(below, tmp_path, ChangingKeyring(keyring()))
        await self.fill(storage)
        yield storage
        await storage.close()


class TestKubo(Tampering):
    @pytest_twisted.async_yield_fixture()
    async def storage(self, node: KuboNode, tmp_path: Path) -> AsyncIterator[EncryptedStorage]:
        below = KuboStorage(node, tmp_path)
        await below.reopened()
        storage = EncryptedStorage(below, tmp_path, ChangingKeyring(keyring()), at_end=True)
        await self.fill(storage)
        yield storage
        await storage.close()
