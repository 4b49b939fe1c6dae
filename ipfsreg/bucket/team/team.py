"""The team of an encrypted bucket as this daemon's member sees it: it gives the key ring, and an owner changes it."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from ipfsreg.bucket.errors import Corrupt, NotFound, Refused, SetupError, Unavailable, Unchangeable
from ipfsreg.bucket.interface import IBucket
from ipfsreg.encryption.documents import WRITING, DocumentError, Member, Role, encode_state
from ipfsreg.encryption.keyring import Keyring
from ipfsreg.encryption.member_key import MemberKey
from ipfsreg.flow.workers import Workers

from .changes import NotAllowed, TeamChanges
from .documents import TeamDocuments
from .seen import Seen, SeenFile
from .view import TeamReader, View

T = TypeVar("T")

_TOLD_AT_ONCE = 5
"""So many documents that do not count are named in the log by one reading."""


@dataclass(frozen=True, slots=True)
class Own:
    """What this daemon brings to a team: how its member's key is had (in a thread), where it notes what it has seen,
    and the founder's public key, where the configuration says it. ``plain`` is a file that a bucket has which is not
    encrypted. ``convert`` says what such a bucket is converted to, where that is under way.
    """

    load_key: Callable[[], MemberKey]
    seen: SeenFile
    plain: str
    owner: bytes | None = None
    convert: str | None = None


class Team:
    """``storage`` is what the documents are in. It may be founded where it has no file ``own.plain``."""

    _log = Logger()

    def __init__(self, storage: IBucket, own: Own, workers: Workers) -> None:
        self.name: str = storage.name
        self._storage = storage
        self._documents = TeamDocuments(storage)
        self._own = own
        self._workers = workers
        self._reader = TeamReader(self._documents, own.owner, own.seen.path)
        self._key: MemberKey | None = None
        self._changes: TeamChanges | None = None
        self._view: View | None = None
        self._keyring: Keyring | None = None
        self._told: tuple[str, ...] = ()
        self._lock = DeferredLock()

    def current(self) -> Keyring:
        """See `KeyringSource`. `Unavailable` where the team was not read yet."""
        if self._keyring is None:
            raise self._not_read()
        return self._keyring

    @property
    def view(self) -> View:
        """The team as it was read last. `Unavailable` where it was not yet."""
        if self._view is None:
            raise self._not_read()
        return self._view

    @property
    def public(self) -> bytes:
        """The public key of this daemon's member. `Unavailable` where it was not read yet."""
        if self._key is None:
            raise self._not_read()
        return self._key.public

    @property
    def is_owner(self) -> bool:
        """Whether this daemon's member may change the team."""
        return self._view is not None and self._view.roster.is_owner(self.public)

    async def open(self) -> None:
        """Read the team for the first time, or found it where the storage is empty.

        :raises SetupError: where this member's user has to change something.
        """
        async with self._lock:
            if self._view is None:
                await self._refresh()

    async def refresh(self) -> None:
        """Read the team anew: who was added or removed, and new generations. An owner heals what was left half-way.

        What was known before stays in use where this fails. `BucketError`.
        """
        async with self._lock:
            try:
                await self._refresh()
            except SetupError as error:
                raise Refused(str(error)) from None

    async def forget(self) -> None:
        """Forget what was seen of a team that is about to end."""
        await self._workers.run(self._own.seen.note, lambda before: Seen())

    async def has_all_generations(self) -> bool:
        """Whether the storage names the same generations as when the team was read last. `BucketError`."""
        return await self._documents.generations() == self.view.generations

    async def add(self, public: bytes, name: str | None, role: Role) -> Member:
        """Add a member, or give one another name or role. A role that is less makes a new generation.

        Without a name it stays as it is, or is made of the key. :raises NotAllowed: where this member may not.
        """

        async def add(changes: TeamChanges, view: View) -> Member:
            # An earlier record of his may not count any more, but its counter was seen.
            counter = (await self._workers.run(self._own.seen.load)).counters.get(public, 0) + 1
            known = view.roster.members.get(public)
            new = name or (public.hex()[:8] if known is None else known.name)
            return await changes.add(view, public, new, role, counter)

        return await self._change(add)

    async def remove(self, public: bytes) -> Member:
        """Remove a member, and make a new generation that he has no key of. `NotAllowed`."""
        return await self._change(lambda changes, view: changes.remove(view, public))

    async def rotate(self, *, reencrypt: bool = False) -> int:
        """Make a new generation, for all who are members. Answers its number. `NotAllowed`.

        With ``reencrypt`` all content is encrypted anew for it, in the background.
        """
        generation = await self._change(lambda changes, view: changes.rotate(view))
        if reencrypt:
            await self._workers.run(self._own.seen.note_reencrypted, generation)
        return generation

    async def reencrypts(self, generation: int) -> bool:
        """Whether content is to be encrypted anew for a generation, and not its keys only."""
        return (await self._workers.run(self._own.seen.load)).reencrypted == generation

    async def settle(self, rewrapped: int) -> None:
        """Note that all content has a generation; see `TeamChanges.settle`."""
        await self._change(lambda changes, view: changes.settle(view, rewrapped))
        await self._workers.run(self._own.seen.note_rewrapped, rewrapped)

    async def rewrapped(self) -> int:
        """The generation that all content has had, as far as this daemon knows."""
        return (await self._workers.run(self._own.seen.load)).rewrapped

    def sign_state(self, number: int, top: Mapping[str, str]) -> bytes | None:
        """See `SignState`."""
        if self._keyring is None or self._keyring.member is None or not self._keyring.can_write:
            return None
        return encode_state(self._keyring.member, self._keyring.bucket_id, number, top)

    async def check_state(self, storage: IBucket, top: Mapping[str, str]) -> None:
        """See that a state of a bucket that is followed is signed, and neither it nor its team is an older one.

        ``storage`` is the storage in that state, ``top`` are the CIDs at its top by name. `BucketError`.
        """
        key, seen = await self._workers.run(self._own.load_key), await self._workers.run(self._own.seen.load)
        reader = TeamReader(TeamDocuments(storage), self._own.owner, self._own.seen.path)
        try:
            view = await reader.read(key, seen, {})
            if view is None:
                raise SetupError(f"{self.name} is not encrypted: leave out [encryption]")
            number = await reader.read_state(view, seen, top)
        except SetupError as error:
            raise Refused(str(error)) from None
        except DocumentError as error:
            raise Corrupt(f"{self.name}: {error}") from None
        await self._workers.run(self._own.seen.note, lambda before: replace(before, state=number))

    async def holders(self) -> set[bytes]:
        """Who has the keys of the newest generation."""
        return await self._documents.holders(self.view.newest)

    async def _change(self, work: Callable[[TeamChanges, View], Awaitable[T]]) -> T:
        async with self._lock:
            try:
                await self._refresh()
                if not self.is_owner:
                    raise NotAllowed("only an owner changes the team, and this daemon's member is none")
                assert self._changes is not None
                done = await work(self._changes, self.view)
                await self._refresh()
            except SetupError as error:
                raise Refused(str(error)) from None
            return done

    async def _refresh(self) -> None:
        if self._changes is None:
            self._key = await self._workers.run(self._own.load_key)
            self._changes = TeamChanges(self._documents, self._key, self._read_accepted)
        view = await self._read()
        if view is not None and self._view is None and self._own.convert is None and await self._is_plain():
            raise SetupError(
                f"{self.name} is being converted: set [encryption] convert = encrypt, or decrypt, and run that command "
                "to its end"
            )
        view = view or await self._found(self._changes)
        await self._accept(view)
        if view.roster.is_owner(self.public):
            with suppress(Unchangeable):  # a mirror's
                if await self._changes.heal(view):
                    await self._read_accepted()

    async def _read_accepted(self) -> View:
        view = await self._read()
        if view is None:
            raise Corrupt(f"{self.name}: encryption/bucket is not there any more")
        await self._accept(view)
        return view

    async def _read(self) -> View | None:
        assert self._key is not None
        seen = await self._workers.run(self._own.seen.load)
        try:
            return await self._reader.read(self._key, seen, {} if self._view is None else self._view.keys)
        except DocumentError as error:
            raise Corrupt(f"{self.name}: {error}") from None

    async def _found(self, changes: TeamChanges) -> View:
        if self._own.owner not in {None, self.public}:
            assert self._own.owner is not None
            raise SetupError(f"{self.name} is empty, and not the bucket of [encryption] owner {self._own.owner.hex()}")
        if self._own.convert == "decrypt":
            raise SetupError(f"{self.name} is not encrypted: set [encryption] enabled = no")
        if self._own.convert is None and await self._is_plain():
            raise SetupError(
                f"{self.name} has content that is not encrypted: [encryption] convert = encrypt and `ipfsreg encrypt` "
                "convert it (docs/encryption.md), or choose another place"
            )
        try:
            bucket = await changes.found()
        except Unchangeable as error:
            raise Unavailable(f"there is no encrypted registry: {error}", 60) from None
        view = await self._read()
        if view is None or view.bucket != bucket:
            raise Unavailable(f"somebody else founded {self.name} at the same time; it is tried again")
        self._log.info("{name} is encrypted from now on, and this daemon's member is its founder.", name=self.name)
        return view

    async def _is_plain(self) -> bool:
        try:
            await self._storage.stat(self._own.plain)
        except NotFound:
            return False
        return True

    async def _accept(self, view: View) -> None:
        """Go over to a team that was read, and remember it."""
        member = view.roster.members.get(self.public)
        if not view.keys:
            raise SetupError(self._no_keys(member))

        def seen(before: Seen) -> Seen:
            founders = before.founders
            if founders[-1:] != (view.bucket.founder,):
                founders = (*founders, view.bucket.founder)
            return replace(
                before,
                bucket_id=view.bucket.bucket_id,
                founders=founders,
                bucket_counter=view.bucket.counter,
                counters=before.counters | {public: each.counter for public, each in view.roster.members.items()},
                owners=frozenset(view.roster.owners()),
                generation=view.generation,
            )

        await self._workers.run(self._own.seen.note, seen)
        # Who lacks the newest key, or is no writer any more, must not go on writing with an old one.
        writes = member is not None and member.role in WRITING and view.generation == view.newest
        self._view = view
        self._keyring = Keyring(
            view.bucket.bucket_id,
            view.keys[view.generation].name_key,
            view.generation,
            self._key if writes else None,
            {generation: keys.content_key for generation, keys in view.keys.items()},
            view.roster.may_have_written,
        )
        self._tell(view, member)

    def _tell(self, view: View, member: Member | None) -> None:
        problems = view.problems
        if member is None or not member.is_member:
            own = "this daemon's member was removed: it reads what there was before, and nothing new"
            problems = (own, *problems)
        elif view.generation != view.newest:
            own = f"this daemon's member has no key of generation {view.newest} yet: an owner's daemon makes it"
            problems = (own, *problems)
        new = [problem for problem in problems if problem not in self._told]
        if len(new) > _TOLD_AT_ONCE:  # whoever has the storage can make any number of them, again and again
            new[_TOLD_AT_ONCE:] = [f"{len(new) - _TOLD_AT_ONCE} more documents do not count: see `ipfsreg team list`"]
        for problem in new:
            self._log.error("{name}: {problem}", name=self.name, problem=problem)
        self._told = problems

    def _no_keys(self, member: Member | None) -> str:
        public = self.public.hex()
        if member is not None and member.is_member:
            return f"{self.name} has no keys for the member {public} yet: an owner's daemon makes them"
        if member is not None:
            return f"{self.name} is encrypted, and the member {public} was removed from it"
        return (
            f"{self.name} is encrypted, and the key {public} is none of its members': have an owner run "
            f"`ipfsreg team add {public}`"
        )

    def _not_read(self) -> Unavailable:
        return Unavailable(f"the team of {self.name} was not read yet")
