"""The bucket itself."""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, ensureDeferred

from ipfsreg.bucket.errors import BucketError, Corrupt, KeyMissing, NotFound, PathTooLong, TooLarge, bucket_error
from ipfsreg.bucket.interface import Entry, IBucket, IReader, Listing, Stat, check_path, walk_by_listing
from ipfsreg.bucket.wrapper import BucketWrapper
from ipfsreg.encryption.chunks import plain_size, stored_size
from ipfsreg.encryption.file_format import decode_file, encode_file, make_seal
from ipfsreg.encryption.keyring import Keyring, KeyringSource
from ipfsreg.encryption.names import Names, NameTooLong, NotAName, names_of
from ipfsreg.flow.durable import write_all
from ipfsreg.flow.locks import KeyedLock
from ipfsreg.flow.workers import Workers

from .access import INLINE, NotBelieved, for_writing, named
from .first_read import FirstRead
from .reader import EncryptedReader, open_encrypted, read_head
from .replacing import Replace, ReplacingBucket
from .sealing import SealedCopy, new_file, remove_copies, seal_between
from .spool import SealedSpool

T = TypeVar("T")

_NAMES_INLINE = 64
"""So many names are decrypted faster than a thread is woken."""

_MOVED_IN_MEMORY = 1024 * 1024


class EncryptedBucket(BucketWrapper):
    """Encrypts what goes to the wrapped bucket, and believes nothing that comes from there.

    Names are tokens (`ipfsreg.encryption.names`), files are as `ipfsreg.encryption.file_format` says. What does not
    hold is `Corrupt`, and the text names the file. ``keys`` are those of the moment; where the member may only read,
    every change is `Unchangeable`. Files of the form ``spool`` are stored by `put_file` as they are; others are
    encrypted first, into a file beside them. ``directory`` on this disk is its own, for files that are moved.
    ``replace`` is that of `Opened`, for a bucket that others use as well.
    """

    def __init__(
        self,
        bucket: IBucket,
        keys: KeyringSource,
        spool: SealedSpool,
        workers: Workers,
        directory: Path,
        replace: Replace | None = None,
    ) -> None:
        super().__init__(bucket)
        self._keys = keys
        self._spool = spool
        self._workers = workers
        self._directory = directory
        self._replace = replace
        self._changing = KeyedLock()
        """By path: what is sealed again is not what was just replaced."""

    def start(self) -> "Deferred[None]":
        return ensureDeferred(self._start())

    async def _start(self) -> None:
        await self._workers.run(remove_copies, self._directory)
        await self._bucket.start()

    def stat(self, path: str) -> "Deferred[Stat]":
        """See `IBucket.stat`. On this disk the seal is looked at; elsewhere the stored size is believed."""
        return ensureDeferred(self._stat(check_path(path)))

    async def _stat(self, path: str) -> Stat:
        if not self._bucket.shared:
            reader = await self._believed(lambda keyring: self._open(keyring, path))
            reader.close()
            return Stat(reader.size)
        keyring = self._keys.current()
        found = await self._asked(path, self._bucket.stat(_where(keyring, path)))
        with named(path, keyring):
            return Stat(None if found.size is None else plain_size(found.size))

    def get(self, path: str, limit: int) -> "Deferred[bytes]":
        check_path(path)
        return ensureDeferred(self._believed(lambda keyring: self._get(keyring, path, limit)))

    async def _get(self, keyring: Keyring, path: str, limit: int) -> bytes:
        stored = await self._asked(path, self._bucket.get(_where(keyring, path), stored_size(limit)))
        with named(path, keyring):
            content = await self._computed(len(stored), decode_file, keyring, path, stored)
        if len(content) > limit:
            raise TooLarge(f"{path} is longer than {limit} bytes")
        return content

    def open(self, path: str) -> "Deferred[IReader]":
        """See `IBucket.open`. The file's seal is checked here, each chunk when it is read."""
        check_path(path)
        return ensureDeferred(self._believed(lambda keyring: self._open(keyring, path)))

    async def _open(self, keyring: Keyring, path: str) -> IReader:
        stored = await self._asked(path, self._bucket.open(_where(keyring, path)))
        return await open_encrypted(stored, keyring, path, self._workers)

    async def _believed(self, read: Callable[[Keyring], Awaitable[T]]) -> T:
        """What a file says. Its author may just have become a writer, or a generation begun: before the file counts as
        damaged, and is moved out of the way, the team is read anew.
        """
        keyring = self._keys.current()
        try:
            return await read(keyring)
        except (NotBelieved, KeyMissing):
            return await read(await self._keys.renewed())

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        return ensureDeferred(self._changing.run(lambda: self._put(path, content), check_path(path)))

    async def _put(self, path: str, content: bytes) -> None:
        keyring = await self._to_write()
        token = _new(keyring, path)
        stored = await self._computed(len(content), encode_file, keyring, path, content)
        await self._asked(path, self._bucket.put(token, stored))

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        return ensureDeferred(self._changing.run(lambda: self._put_file(path, source), check_path(path)))

    async def _put_file(self, path: str, source: Path) -> None:
        keyring = await self._to_write()
        await self._store_file(path, source, keyring)
        # What is long is under way for some time, and a generation may have begun meanwhile. It is stored all the same.
        with suppress(BucketError):
            if (await self._keys.fresh()).generation != keyring.generation:
                await self._seal_again(path, reencrypt=False)

    async def _store_file(self, path: str, source: Path, keyring: Keyring) -> None:
        token = _new(keyring, path)
        if self._spool.is_sealed(source):
            try:
                with named(path, keyring):
                    await self._workers.run(self._spool.finish, source, keyring, path)
            except OSError as error:
                raise bucket_error(error) from error
            await self._asked(path, self._bucket.put_file(token, source))
            return
        copy = source.with_name(f"{source.name}-{secrets.token_hex(4)}")
        try:
            await self._encrypt(source, copy, keyring, path)
            await self._asked(path, self._bucket.put_file(token, copy))
        finally:
            await self._workers.run(copy.unlink, missing_ok=True)
        await self._workers.run(source.unlink)

    async def _encrypt(self, source: Path, copy: Path, keyring: Keyring, path: str) -> None:
        run = self._workers.run
        try:
            making = await run(SealedCopy, source, copy, keyring, path)
            try:
                while await run(making.step):
                    pass
            finally:
                making.close()
        except OSError as error:
            raise bucket_error(error) from error

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`: a new seal, since the old one binds the file to its path.

        What has no seal that holds is moved as it is, and stays damaged.
        """
        paths = check_path(source), check_path(destination)
        return ensureDeferred(self._changing.run(lambda: self._move(source, destination), *paths))

    async def _move(self, source: str, destination: str) -> None:
        keyring = await self._to_write()
        found, wanted = _where(keyring, source), _new(keyring, destination)
        try:
            stored = await self._asked(source, self._bucket.open(found))
        except Corrupt:
            await self._bucket.move(found, wanted)  # what is there is no file
            return
        if stored.size is None:
            stored = FirstRead(stored)
        try:
            with named(source, keyring):
                header, seal = await read_head(stored, keyring, source)
            new = make_seal(keyring, destination, header, seal.key, seal.public, seal.size)
            size = stored_size(seal.size)
            await self._store_with(stored, size, new, header.seal_at(size), wanted)
        except Corrupt:
            await self._bucket.move(found, wanted)
            return
        finally:
            stored.close()
        await self._bucket.remove(found)

    async def seal_again(self, path: str, *, reencrypt: bool) -> int:
        """Bring a file to the generation of the moment, signed by this member; answers how many bytes were stored.

        0 where it has that generation. A short one gets new keys of its own; a long one keeps them and gets another
        seal, unless it is to be ``reencrypt``ed. What others replaced meanwhile is left alone. `Corrupt` where the file
        does not hold.
        """
        return await self._changing.run(lambda: self._seal_again(path, reencrypt=reencrypt), check_path(path))

    async def _seal_again(self, path: str, *, reencrypt: bool) -> int:
        keyring = await self._to_write()
        token = _where(keyring, path)
        before = await self._asked(path, self._bucket.stat(token))
        stored = await self._asked(path, self._bucket.open(token))
        if stored.size is None:
            stored = FirstRead(stored)
        try:
            with named(path, keyring):
                header, seal = await read_head(stored, keyring, path)
            if seal.generation == keyring.generation:
                return 0
            writing = self._while_still(before)
            if reencrypt or seal.size <= _MOVED_IN_MEMORY:
                reader = EncryptedReader(stored, header, seal, path, self._workers)
                return await writing._encrypt_again(path, reader, before)
            new = make_seal(keyring, path, header, seal.key, seal.public, seal.size)
            size = stored_size(seal.size)
            if await self._bucket.stat(token) != before:
                return 0
            await writing._store_with(stored, size, new, header.seal_at(size), token)
            return size
        finally:
            stored.close()

    def _while_still(self, before: Stat) -> "EncryptedBucket":
        """This bucket, but that what is stored replaces only what is still as it was."""
        if self._replace is None or before.cid is None:
            return self
        still = ReplacingBucket(self._bucket, self._replace, before.cid)
        return EncryptedBucket(still, self._keys, self._spool, self._workers, self._directory)

    async def _encrypt_again(self, path: str, reader: EncryptedReader, before: Stat) -> int:
        keyring = self._keys.current()
        token = _where(keyring, path)
        if reader.size <= _MOVED_IN_MEMORY:
            async with aclosing(reader.pieces(0, reader.size)) as pieces:
                content = b"".join([piece async for piece in pieces])
            if await self._bucket.stat(token) == before:
                await self._put(path, content)
            return stored_size(reader.size)
        copy = self._directory / f"{secrets.token_hex(8)}{self._spool.suffix}"
        descriptor = await self._workers.run(new_file, copy)
        try:
            await self._workers.run(self._spool.begin, descriptor)
            appender = await self._workers.run(self._spool.appender, descriptor, 0)
            async with aclosing(reader.pieces(0, reader.size)) as pieces:
                async for piece in pieces:
                    await self._workers.run(appender.write, piece)
            await self._workers.run(appender.flush)
            if await self._bucket.stat(token) == before:
                await self._put_file(path, copy)
        except OSError as error:
            raise bucket_error(error) from error
        finally:
            os.close(descriptor)
            await self._workers.run(copy.unlink, missing_ok=True)
        return stored_size(reader.size)

    async def _to_write(self) -> Keyring:
        """The keys for what is stored now. :raises Unchangeable: where this daemon's member may only read."""
        for_writing(self._keys.current())
        return for_writing(await self._keys.fresh())

    async def _store_with(self, stored: IReader, size: int, seal: bytes, at: int, token: str) -> None:
        """Store a file once more, with another seal."""
        offset, copy, descriptor = 0, self._directory / secrets.token_hex(8), None
        waiting: list[bytes] = []
        try:
            if size > _MOVED_IN_MEMORY:
                descriptor = await self._workers.run(new_file, copy)
            async with aclosing(stored.pieces(0, size)) as pieces:
                async for piece in pieces:
                    part = seal_between(seal, at, offset, piece)
                    offset += len(piece)
                    if descriptor is None:
                        waiting.append(part)
                    else:
                        await self._workers.run(write_all, descriptor, part)
            if descriptor is None:
                await self._bucket.put(token, b"".join(waiting))
                return
            await self._workers.run(os.fsync, descriptor)
            await self._bucket.put_file(token, copy)
        except OSError as error:
            raise bucket_error(error) from error
        finally:
            if descriptor is not None:
                os.close(descriptor)
                await self._workers.run(copy.unlink, missing_ok=True)

    def remove(self, path: str) -> "Deferred[None]":
        return ensureDeferred(self._changing.run(lambda: self._remove(path), check_path(path)))

    async def _remove(self, path: str) -> None:
        keyring = for_writing(self._keys.current())
        await self._asked(path, self._bucket.remove(_where(keyring, path)))

    def list(self, directory: str) -> "Deferred[Sequence[Entry]]":
        """See `IBucket.list`. What has no name that the key made for this directory is strange."""
        return ensureDeferred(self._list(check_path(directory)))

    async def _list(self, directory: str) -> Sequence[Entry]:
        names = names_of(self._keys.current().name_key)
        try:
            token = names.directory(directory)
        except NameTooLong:
            return []
        entries = await self._asked(directory, self._bucket.list(token))
        return await self._decrypted(names, directory, entries)

    async def list_top(self, list_stored: Callable[[], Awaitable[Sequence[Entry]]], plain: str) -> Sequence[Entry]:
        """The top of the bucket, but for what has the name ``plain``; ``list_stored`` lists what is stored there."""
        stored = [entry for entry in await list_stored() if entry.name != plain]
        return await self._decrypted(names_of(self._keys.current().name_key), "", stored)

    async def _decrypted(self, names: Names, directory: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        if len(entries) <= _NAMES_INLINE:
            return _decrypt_entries(names, directory, entries)
        return await self._workers.run(_decrypt_entries, names, directory, entries)

    def walk(self, directory: str, into: Callable[[str], bool] | None = None) -> AsyncIterator[Sequence[Listing]]:
        return walk_by_listing(self._list_or_tidy, check_path(directory), into)

    async def _list_or_tidy(self, directory: str) -> Sequence[Entry]:
        entries = await self._list(directory)
        if not entries:
            with suppress(NotFound):  # empty directories are tidied away by a walk, where there are any
                async for _ in self._bucket.walk(_where(self._keys.current(), directory)):
                    pass
        return entries

    async def _asked(self, path: str, answer: "Deferred[T]") -> T:
        """What the wrapped bucket answers about the file at a path, with the path named in its failures."""
        try:
            return await answer
        except NotFound:
            raise NotFound(path) from None
        except Corrupt as error:
            raise type(error)(f"{path}: {error}") from error

    async def _computed(self, length: int, function: Callable[[Keyring, str, bytes], T], *args: object) -> T:
        if length <= INLINE:
            return function(*args)  # type: ignore[arg-type]
        return await self._workers.run(function, *args)  # type: ignore[arg-type]


def _where(keyring: Keyring, path: str) -> str:
    """Where a file is stored that may be there."""
    try:
        return names_of(keyring.name_key).path(path)
    except NameTooLong:
        raise NotFound(path) from None


def _new(keyring: Keyring, path: str) -> str:
    """Where a file will be stored. :raises PathTooLong:"""
    try:
        return names_of(keyring.name_key).path(path)
    except NameTooLong as error:
        raise PathTooLong(str(error)) from None


def _decrypt_entries(names: Names, directory: str, entries: Sequence[Entry]) -> Sequence[Entry]:
    found = []
    for entry in entries:
        try:
            name, strange = names.segment(directory, entry.name), entry.strange
        except NotAName:
            name, strange = entry.name, True
        found.append(Entry(name, entry.is_directory, strange))
    return sorted(found)
