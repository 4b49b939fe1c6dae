"""The team of an encrypted bucket as this daemon's member sees it: it gives the key ring, and an owner changes it.

Each change is a few documents, written in an order in which a kill at any moment leaves a team that works, and what is
left to do is done by the next look of an owner's daemon (`heal`).
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from nacl.utils import random
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, Corrupt, Refused, SetupError, Unavailable, Unchangeable
from ipfsreg.encryption.documents import (
    GENERATION_MAX,
    ID_SIZE,
    KEY_SIZE,
    WRITING,
    BucketDocument,
    DocumentError,
    GenerationKeys,
    Member,
    Role,
    parse_keys,
)
from ipfsreg.encryption.keyring import Keyring
from ipfsreg.encryption.member_key import MemberKey
from ipfsreg.encryption.roster import Roster, resolve
from ipfsreg.flow.gather import gather
from ipfsreg.flow.workers import Workers

from .documents import TeamDocuments
from .seen import Seen, SeenFile

GENERATION_STEP = 1000
"""How far the next generation may be from the last one. Two owners who rotate at once should not take the same."""

T = TypeVar("T")


class NotAllowed(Refused):
    """The member may not do it; one line that says why."""


class RolledBack(Corrupt):
    """The storage gave an older document than it had given before."""


@dataclass(frozen=True, slots=True)
class View:
    """A team as it was read. ``keys`` are those that this member has, by generation; ``newest`` is the generation
    that new files should have, for which he may lack the key."""

    bucket: BucketDocument
    roster: Roster
    keys: dict[int, GenerationKeys]
    newest: int
    problems: tuple[str, ...] = ()

    @property
    def generation(self) -> int:
        """The newest generation that the member has the key of; 0 where he has none."""
        return max(self.keys, default=0)


class Team:
    """``load_key`` answers the member's key, in a thread. ``owner`` is the founder's public key where the
    configuration says it; else whoever is found first is believed from then on. ``is_plain`` says whether the storage
    has content that is not encrypted, where it has no team.
    """

    _log = Logger()

    def __init__(
        self,
        documents: TeamDocuments,
        seen: SeenFile,
        load_key: Callable[[], MemberKey],
        owner: bytes | None,
        workers: Workers,
        is_plain: Callable[[], Awaitable[bool]],
    ) -> None:
        self._documents = documents
        self._seen = seen
        self._load_key = load_key
        self._owner = owner
        self._workers = workers
        self._is_plain = is_plain
        self._key: MemberKey | None = None
        self._view: View | None = None
        self._keyring: Keyring | None = None
        self._told: tuple[str, ...] = ()
        self._lacking: int | None = None
        self._lock = DeferredLock()

    # What everybody needs.

    def current(self) -> Keyring:
        """See `KeyringSource`. `Unavailable` where the team was not read yet."""
        if self._keyring is None:
            raise Unavailable(f"the team of {self._documents.name} was not read yet")
        return self._keyring

    @property
    def view(self) -> View:
        """The team as it was read last. `Unavailable` where it was not yet."""
        if self._view is None:
            raise Unavailable(f"the team of {self._documents.name} was not read yet")
        return self._view

    @property
    def member(self) -> MemberKey:
        """This daemon's member's key, once the team was read."""
        assert self._key is not None
        return self._key

    @property
    def is_owner(self) -> bool:
        """Whether this daemon's member may change the team."""
        return self._view is not None and self._view.roster.is_owner(self.member.public)

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

    async def _refresh(self) -> None:
        if self._key is None:
            self._key = await self._workers.run(self._load_key)
        try:
            view = await self._read() or await self._found()
        except DocumentError as error:
            raise Corrupt(f"{self._documents.name}: {error}") from None
        await self._accept(view)
        if view.roster.is_owner(self._key.public):
            with suppress(Unchangeable):  # a mirror's
                if await self._heal(view):
                    again = await self._read()
                    assert again is not None
                    await self._accept(again)

    async def _read(self) -> View | None:
        bucket = await self._documents.bucket()
        seen = await self._workers.run(self._seen.load)
        if bucket is None:
            if seen.bucket_id is not None:
                raise RolledBack(self._older("encryption/bucket is not there any more"))
            return None
        self._check_bucket(bucket, seen)
        found = await self._documents.records(bucket.bucket_id)
        roster = resolve(bucket.founder, found.records)
        for public, counter in seen.counters.items():
            member = roster.members.get(public)
            if public not in found.records:
                raise RolledBack(self._older(f"the record of {public.hex()} is gone, or damaged"))
            if member is not None and member.counter < counter:
                raise RolledBack(self._older(f"the record of {public.hex()} is older than it was"))
        keys, problems = await self._own_keys(bucket.bucket_id, roster)
        newest = max([*keys, *(member.until or 0 for member in roster.members.values())], default=0)
        if newest < seen.generation:
            raise RolledBack(self._older(f"the keys of generation {seen.generation} are not there any more"))
        return View(bucket, roster, keys, newest, (*found.problems, *roster.problems, *problems))

    def _check_bucket(self, bucket: BucketDocument, seen: Seen) -> None:
        if seen.bucket_id not in {None, bucket.bucket_id}:
            raise Corrupt(self._older("it is another bucket than the one that was here"))
        if bucket.counter < seen.bucket_counter:
            raise RolledBack(self._older("encryption/bucket is older than it was"))
        trusted = bucket.founder in seen.owners or bucket.founder in seen.founders
        if self._owner is not None and self._owner not in {bucket.founder, *(seen.founders if trusted else ())}:
            raise SetupError(
                f"{self._documents.name} is vouched for by {bucket.founder.hex()}, and [encryption] owner is "
                f"{self._owner.hex()}: ask that owner whether it is his bucket"
            )
        if self._owner is None and seen.founders and not trusted:
            raise SetupError(
                f"{self._documents.name} is vouched for by {bucket.founder.hex()} now, whom this daemon does not know "
                "as an owner: if the team says that this is right, set [encryption] owner to that key"
            )

    def _older(self, what: str) -> str:
        return (
            f"{self._documents.name} gives an older team than it has given before: {what}. Somebody may have rolled "
            f"the storage back; if it was you, from a backup, remove {self._seen.path}"
        )

    async def _own_keys(self, bucket_id: bytes, roster: Roster) -> tuple[dict[int, GenerationKeys], list[str]]:
        known = {} if self._view is None else self._view.keys
        problems: list[str] = []

        async def read(generation: int) -> GenerationKeys | None:
            if generation in known:
                return known[generation]
            try:
                signed = await self._documents.sealed_keys(bucket_id, generation, self.member.public)
                if signed is None:
                    return None
                if not roster.is_owner(signed.signer):
                    raise DocumentError(f"the keys of generation {generation} are signed by one who is no owner")
                return parse_keys(self.member, generation, signed)
            except DocumentError as error:
                problems.append(str(error))
                return None

        found = [keys for keys in await gather(read, await self._documents.generations()) if keys is not None]
        if len({keys.name_key for keys in found}) > 1:
            raise Corrupt(f"{self._documents.name}: the generations have different keys for names")
        return {keys.generation: keys for keys in found}, problems

    async def _accept(self, view: View) -> None:
        """Go over to a team that was read, and remember it."""
        member = view.roster.members.get(self.member.public)
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
                generation=view.newest,
            )

        await self._workers.run(self._seen.note, seen)
        # Who lacks the newest key, or is no writer any more, must not go on writing with an old one.
        writes = member is not None and member.role in WRITING and view.generation == view.newest
        self._view = view
        self._keyring = Keyring(
            view.bucket.bucket_id,
            view.keys[view.generation].name_key,
            view.generation,
            self.member if writes else None,
            {generation: keys.content_key for generation, keys in view.keys.items()},
            view.roster.may_have_written,
        )
        problems = view.problems
        if view.generation != view.newest and member is not None and member.is_member:
            problems += (
                f"there is no key of generation {view.newest} for this member yet: an owner's daemon makes it",
            )
        for problem in problems:
            if problem not in self._told:
                self._log.error("{name}: {problem}", name=self._documents.name, problem=problem)
        self._told = problems

    def _no_keys(self, member: Member | None) -> str:
        public = self.member.public.hex()
        if member is not None and member.is_member:
            return f"{self._documents.name} has no keys for the member {public} yet: an owner's daemon makes them"
        if member is not None:
            return f"{self._documents.name} is encrypted, and the member {public} was removed from it"
        return (
            f"{self._documents.name} is encrypted, and the key {public} is none of its members': ask an owner for "
            f"`ipfsreg team add {public}`"
        )

    # What an owner does.

    async def _found(self) -> View:
        """Make the storage an encrypted bucket, with this member as its founder."""
        if self._owner not in {None, self.member.public}:
            assert self._owner is not None
            raise SetupError(
                f"{self._documents.name} is empty, and not the bucket of [encryption] owner {self._owner.hex()}"
            )
        if await self._is_plain():
            raise SetupError(
                f"{self._documents.name} has content that is not encrypted: `ipfsreg encrypt` converts it, or choose "
                "another place"
            )
        bucket = BucketDocument(random(ID_SIZE), self.member.public)
        keys = GenerationKeys(1, random(KEY_SIZE), random(KEY_SIZE))
        founder = Member(self.member.public, "founder", Role.OWNER, 1, None, (1, None))
        try:
            await self._documents.put_keys(self.member, bucket.bucket_id, keys, [self.member.public])
            await self._documents.put_member(self.member, bucket.bucket_id, founder)
            await self._documents.put_bucket(self.member, bucket)  # it counts from here on
        except Unchangeable as error:
            raise Unavailable(f"there is no encrypted registry: {error}", 60) from None
        view = await self._read()
        if view is None or view.bucket != bucket:
            raise Unavailable(f"somebody else founded {self._documents.name} at the same time; trying again")
        self._log.info("{name} is encrypted, and its founder is this member.", name=self._documents.name)
        return view

    async def add(self, public: bytes, name: str, role: Role) -> Member:
        """Add a member, or give one another name or role. A role that is less makes a new generation.

        :raises NotAllowed: where this member may not.
        """
        return await self._change(lambda view: self._add(view, public, name, role))

    async def remove(self, public: bytes) -> Member:
        """Remove a member, and make a new generation that he has no key of."""

        async def remove(view: View) -> Member:
            known = view.roster.members.get(public)
            if known is None or not known.is_member:
                raise NotAllowed(f"{public.hex()} is no member")
            self._check_not_own(known)
            return await self._withdraw(view, known, known.name, Role.REMOVED)

        return await self._change(remove)

    async def rotate(self) -> int:
        """Make a new generation, for all who are members. Answers its number."""
        return await self._change(lambda view: self._rotate(view, _next_generation(view)))

    async def settle(self, rewrapped: int) -> None:
        """Let no signature count any more of those who may not write now: all that they wrote was signed anew.

        ``rewrapped`` is the generation that all content has.
        """

        async def settle(view: View) -> None:
            for member in view.roster.members.values():
                if member.writes is not None and member.writes[1] is not None and member.writes[1] <= rewrapped:
                    await self._put(view, member.next(writes=None))

        await self._change(settle)

    async def _change(self, work: Callable[[View], Awaitable[T]]) -> T:
        async with self._lock:
            await self._refresh()
            if not self.is_owner:
                raise NotAllowed("only an owner changes the team, and this daemon's member is none")
            done = await work(self.view)
            await self._refresh()
            return done

    async def _add(self, view: View, public: bytes, name: str, role: Role) -> Member:
        known = view.roster.members.get(public)
        if known is None:
            # An earlier record of his may not count any more, but its counter was seen.
            counter = (await self._workers.run(self._seen.load)).counters.get(public, 0) + 1
            member = Member(public, name, role, view.newest, counter=counter)
        else:
            self._check_not_own(known)
            if known.role in WRITING and role not in WRITING:
                return await self._withdraw(view, known, name, role)
            if view.roster.is_owner(public):
                view, known = await self._take_over_from(view, known)
            member = known.next(name=name, role=role, until=None)
        if role in WRITING:
            first = member.writes[0] if member.writes is not None else view.newest
            member = replace(member, writes=(first, None))
        await self._put(view, member)
        for keys in view.keys.values():
            await self._documents.put_keys(self.member, view.bucket.bucket_id, keys, [public])
        return member

    async def _withdraw(self, view: View, known: Member, name: str, role: Role) -> Member:
        """Let a member be less than he was: from a new generation on."""
        if view.roster.is_owner(known.public):
            view, known = await self._take_over_from(view, known)
        generation = _next_generation(view)
        writes = known.writes if known.writes is None else (known.writes[0], known.writes[1] or generation)
        until = generation if role is Role.REMOVED else None
        member = known.next(name=name, role=role, until=until, writes=writes)
        await self._put(view, member)
        members = {each.public for each in view.roster.present()} - ({known.public} if until else set())
        await self._rotate(view, generation, members)
        return member

    def _check_not_own(self, member: Member) -> None:
        if member.public == self.member.public:
            raise NotAllowed("an owner does not change his own record: another owner does that")

    async def _take_over_from(self, view: View, owner: Member) -> tuple[View, Member]:
        """Sign anew what an owner signed, whose record changes; and all, where the own membership hangs on him.

        Answers the team and the owner's record as they are then. After each step the chain of signatures holds.
        """
        key, bucket, roster = self.member, view.bucket, view.roster
        signers = {owner.public}
        if roster.stands_above(owner.public, key.public):
            # This member vouches for the bucket from here on. Whom the founder signed hangs on the founder's record.
            signers = set(roster.owners()) - {key.public}
            if bucket.founder in roster.members:
                await self._put(view, roster.members[bucket.founder].next())
            await self._documents.put_bucket(key, BucketDocument(bucket.bucket_id, key.public, bucket.counter + 1))
        for public, member in roster.members.items():
            if public != bucket.founder and roster.signers[public] in signers:
                await self._put(view, member.next())
        for keys in view.keys.values():
            await self._seal_again(view, keys, signers)
        await self._refresh()
        return self.view, self.view.roster.members[owner.public]

    async def _seal_again(self, view: View, keys: GenerationKeys, signers: set[bytes]) -> None:
        bucket_id = view.bucket.bucket_id

        async def again(public: bytes) -> None:
            try:
                signed = await self._documents.sealed_keys(bucket_id, keys.generation, public)
            except DocumentError:
                signed = None
            if signed is None or signed.signer in signers:
                await self._documents.put_keys(self.member, bucket_id, keys, [public])

        holders = await self._documents.holders(keys.generation)
        await gather(again, [public for public in holders if public in view.roster.members])

    async def _rotate(self, view: View, generation: int, members: Iterable[bytes] | None = None) -> int:
        keys = GenerationKeys(generation, random(KEY_SIZE), view.keys[view.generation].name_key)
        everybody = {each.public for each in view.roster.present()} if members is None else set(members)
        put = self._documents.put_keys
        # The own first: from then on whatever is missing is healed.
        await put(self.member, view.bucket.bucket_id, keys, [self.member.public])
        await put(self.member, view.bucket.bucket_id, keys, sorted(everybody - {self.member.public}))
        self._log.info("{name}: new content is of generation {generation}.", name=self.name, generation=generation)
        return generation

    async def _heal(self, view: View) -> bool:
        """Do what an owner left half-way: keys that are missing, and a new generation for who was removed."""
        changed = False
        present = {member.public for member in view.roster.present()}
        holders: set[bytes] = set()
        for generation, keys in sorted(view.keys.items()):
            holders = await self._documents.holders(generation)
            if missing := present - holders:
                await self._documents.put_keys(self.member, view.bucket.bucket_id, keys, sorted(missing))
                changed = True
        # Another owner may just be making the generation that is missing: then it is there at the next look.
        lacking = view.newest if view.generation < view.newest else None
        if (lacking is not None and lacking == self._lacking) or await self._is_known_to_removed(
            view, holders - present
        ):
            await self._rotate(view, _next_generation(view))
            changed = True
        self._lacking = lacking
        return changed

    async def _is_known_to_removed(self, view: View, others: set[bytes]) -> bool:
        """Whether an owner sealed the newest keys to one who was removed at the same time."""
        for public in others & view.roster.members.keys():
            with suppress(DocumentError):
                signed = await self._documents.sealed_keys(view.bucket.bucket_id, view.generation, public)
                if signed is not None and view.roster.is_owner(signed.signer):
                    return True
        return False

    async def _put(self, view: View, member: Member) -> None:
        await self._documents.put_member(self.member, view.bucket.bucket_id, member)

    @property
    def name(self) -> str:
        """What to call the bucket in a log."""
        return self._documents.name


def _next_generation(view: View) -> int:
    step = 1 + int.from_bytes(random(4), "big") % GENERATION_STEP
    if view.newest + step > GENERATION_MAX:
        raise NotAllowed("the bucket has no generations left")
    return view.newest + step
