"""What an owner changes in a team.

Each change is a few documents, written in an order in which a kill at any moment leaves a team that works, and what is
left to do is done by the next look of an owner's daemon (`TeamChanges.heal`).
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from nacl.utils import random
from twisted.logger import Logger

from ipfsreg.bucket.errors import Refused
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
)
from ipfsreg.encryption.member_key import MemberKey
from ipfsreg.flow.gather import gather

from .documents import TeamDocuments
from .view import View

GENERATION_STEP = 1000
"""How far the next generation may be from the last one. Two owners who rotate at once should not take the same."""


class NotAllowed(Refused):
    """The member may not do it; one line that says why."""


class TeamChanges:
    """The changes that the owner of a key makes. ``read`` reads the team anew, after some of it was changed.

    All may fail with a `BucketError`; what an owner may not do is `NotAllowed`.
    """

    _log = Logger()

    def __init__(self, documents: TeamDocuments, key: MemberKey, read: Callable[[], Awaitable[View]]) -> None:
        self._documents = documents
        self._key = key
        self._read = read
        self._lacking: int | None = None

    async def found(self) -> BucketDocument:
        """Make the storage an encrypted bucket, with this member as its founder."""
        bucket = BucketDocument(random(ID_SIZE), self._key.public)
        keys = GenerationKeys(1, random(KEY_SIZE), random(KEY_SIZE))
        founder = Member(self._key.public, "founder", Role.OWNER, 1, None, (1, None))
        await self._documents.put_keys(self._key, bucket.bucket_id, keys, [self._key.public])
        await self._documents.put_member(self._key, bucket.bucket_id, founder)
        await self._documents.put_bucket(self._key, bucket)  # it counts from here on
        return bucket

    async def add(self, view: View, public: bytes, name: str, role: Role, counter: int) -> Member:
        """Add a member, or give one another name or role; one that is less makes a new generation.

        ``counter`` is one that no record of his has had.
        """
        known = view.roster.members.get(public)
        if known is None:
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
            await self._documents.put_keys(self._key, view.bucket.bucket_id, keys, [public])
        return member

    async def remove(self, view: View, public: bytes) -> Member:
        """Remove a member, and make a new generation that he has no key of."""
        known = view.roster.members.get(public)
        if known is None or not known.is_member:
            raise NotAllowed(f"{public.hex()} is no member")
        self._check_not_own(known)
        return await self._withdraw(view, known, known.name, Role.REMOVED)

    async def rotate(self, view: View) -> int:
        """Make a new generation, for all who are members. Answers its number."""
        return await self._rotate(view, _next_generation(view))

    async def settle(self, view: View, rewrapped: int) -> None:
        """Let no signature count any more of those who may not write now.

        ``rewrapped`` is the generation that all content has: what they wrote was signed anew.
        """
        for member in view.roster.members.values():
            if member.writes is not None and member.writes[1] is not None and member.writes[1] <= rewrapped:
                await self._put(view, member.next(writes=None))

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
        if member.public == self._key.public:
            raise NotAllowed("an owner does not change his own record: another owner does that")

    async def _take_over_from(self, view: View, owner: Member) -> tuple[View, Member]:
        """Sign anew what an owner signed, whose record changes; and all, where the own membership hangs on him.

        Answers the team and the owner's record as they are then. After each step the chain of signatures holds.
        """
        key, bucket, roster = self._key, view.bucket, view.roster
        signers = {owner.public}
        if roster.stands_above(owner.public, key.public):
            # This member vouches for the bucket from here on. Whom the founder signed hangs on the founder's record.
            signers = set(roster.owners()) - {key.public}
            if bucket.founder in roster.members:
                await self._put(view, roster.members[bucket.founder].next())
            await self._documents.put_bucket(key, BucketDocument(bucket.bucket_id, key.public, bucket.counter + 1))
        for public, member in roster.members.items():
            if roster.signers[public] in signers:
                await self._put(view, member.next())
        for keys in view.keys.values():
            await self._seal_again(view, keys, signers)
        view = await self._read()
        return view, view.roster.members[owner.public]

    async def _seal_again(self, view: View, keys: GenerationKeys, signers: set[bytes]) -> None:
        bucket_id = view.bucket.bucket_id

        async def again(public: bytes) -> None:
            try:
                signed = await self._documents.sealed_keys(bucket_id, keys.generation, public)
            except DocumentError:
                signed = None
            if signed is None or signed.signer in signers:
                await self._documents.put_keys(self._key, bucket_id, keys, [public])

        holders = await self._documents.holders(keys.generation)
        await gather(again, [public for public in holders if public in view.roster.members])

    async def _rotate(self, view: View, generation: int, members: Iterable[bytes] | None = None) -> int:
        keys = GenerationKeys(generation, random(KEY_SIZE), view.keys[view.generation].name_key)
        everybody = {each.public for each in view.roster.present()} if members is None else set(members)
        put = self._documents.put_keys
        # The own first: from then on whatever is missing is healed.
        await put(self._key, view.bucket.bucket_id, keys, [self._key.public])
        await put(self._key, view.bucket.bucket_id, keys, sorted(everybody - {self._key.public}))
        self._log.info(
            "{name}: new content is of generation {generation}.", name=self._documents.name, generation=generation
        )
        return generation

    async def heal(self, view: View) -> bool:
        """Do what an owner left half-way: keys that are missing, and a new generation for who was removed."""
        changed = False
        present = {member.public for member in view.roster.present()}
        generations = sorted(view.keys)
        holders = await gather(self._documents.holders, generations)
        for generation, there in zip(generations, holders, strict=True):
            if missing := present - there:
                keys = view.keys[generation]
                await self._documents.put_keys(self._key, view.bucket.bucket_id, keys, sorted(missing))
                changed = True
        # Another owner may just be making the generation that is missing: then it is there at the next look.
        lacking = view.newest if view.generation < view.newest else None
        if (lacking is not None and lacking == self._lacking) or await self._is_known_to_removed(
            view, holders[-1] - present
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
        await self._documents.put_member(self._key, view.bucket.bucket_id, member)


def _next_generation(view: View) -> int:
    step = 1 + int.from_bytes(random(4), "big") % GENERATION_STEP
    if view.newest + step > GENERATION_MAX:
        raise NotAllowed("the bucket has no generations left")
    return view.newest + step
