"""A team as its documents in the storage say, and whether they are older than what was seen before."""

from collections.abc import Mapping
from dataclasses import dataclass

from ipfsreg.bucket.errors import Corrupt, SetupError
from ipfsreg.encryption.documents import (
    STATE,
    WRITING,
    BucketDocument,
    DocumentError,
    GenerationKeys,
    Member,
    Role,
    keys_path,
    parse_keys,
    parse_state,
)
from ipfsreg.encryption.member_key import MemberKey
from ipfsreg.encryption.roster import Roster, resolve
from ipfsreg.flow.gather import gather

from .documents import TeamDocuments
from .seen import Seen


class RolledBack(Corrupt):
    """The storage gave an older document than it had given before."""


@dataclass(frozen=True, slots=True)
class View:
    """A team as it was read. ``keys`` are those that this member has, by generation; ``newest`` is the generation
    that new files should have, for which he may lack the key. ``generations`` are those that the storage names."""

    bucket: BucketDocument
    roster: Roster
    keys: dict[int, GenerationKeys]
    newest: int
    generations: list[int]
    problems: tuple[str, ...] = ()

    @property
    def generation(self) -> int:
        """The newest generation that the member has the key of; 0 where he has none."""
        return max(self.keys, default=0)


class TeamReader:
    """Reads the team for a member. ``owner`` is the founder's public key where the configuration says it; else whoever
    is found first is believed from then on. ``seen_file`` is what to call the place where that is noted.
    """

    def __init__(self, documents: TeamDocuments, owner: bytes | None, seen_file: object) -> None:
        self._documents = documents
        self._owner = owner
        self._seen_file = seen_file

    async def read(self, key: MemberKey, seen: Seen, known: dict[int, GenerationKeys]) -> View | None:
        """The team; None where the storage has none. ``known`` are keys that were read before.

        :raises RolledBack: where something is older than ``seen``. :raises Corrupt: for what makes no sense.
        :raises SetupError: where somebody else vouches for it than the configuration, or an earlier look, says.
        """
        bucket = await self._documents.bucket()
        if bucket is None:
            if seen.bucket_id is not None:
                raise RolledBack(self._older("encryption/bucket is not there any more"))
            return None
        self._check_bucket(bucket, seen)
        found = await self._documents.records(bucket.bucket_id)
        roster = resolve(bucket.founder, found.records)
        for public, counter in seen.counters.items():
            record = found.records.get(public)
            if record is None:
                raise RolledBack(self._older(f"the record of {public.hex()} is gone, or damaged"))
            # One that counts for nothing may say any number: it makes nobody a member.
            said = record.payload.get("counter")
            if isinstance(said, int) and said < counter:
                raise RolledBack(self._older(f"the record of {public.hex()} is older than it was"))
        generations = await self._documents.generations()
        keys, problems = await self._own_keys(key, bucket.bucket_id, roster, generations, known)
        newest = max([*keys, *map(_last_known, roster.members.values())], default=0)
        if problems and max(keys, default=0) < max(seen.generation, 1):
            raise Corrupt(f"{self._documents.name}: {problems[0]}")
        if keys and max(keys) < seen.generation:
            raise RolledBack(self._older(f"the keys of generation {seen.generation} are not there any more"))
        return View(bucket, roster, keys, newest, generations, (*problems, *roster.problems, *found.problems))

    async def read_state(self, view: View, seen: Seen, top: Mapping[str, str]) -> int:
        """The number of the state that the storage is in; ``top`` are the CIDs at its top by name.

        :raises RolledBack: where it is older than ``seen``. :raises Corrupt: where no writer has signed it.
        """
        try:
            signed = await self._documents.state(view.bucket.bucket_id)
            if signed is None:
                raise DocumentError(f"it is not signed: it has no {STATE}")
            member = view.roster.members.get(signed.signer)
            if member is None or member.role not in WRITING:
                raise DocumentError(f"{STATE} is signed by {signed.signer.hex()}, who is no writer")
            number = parse_state(signed, top)
        except DocumentError as error:
            raise Corrupt(f"{self._documents.name}: {error}") from None
        if number < seen.state:
            raise RolledBack(self._older(f"it is state {number}, and {seen.state} was there already"))
        return number

    def _check_bucket(self, bucket: BucketDocument, seen: Seen) -> None:
        if seen.bucket_id not in {None, bucket.bucket_id}:
            raise Corrupt(self._older("it is another bucket than the one that was here"))
        if bucket.counter < seen.bucket_counter:
            raise RolledBack(self._older("encryption/bucket is older than it was"))
        trusted = bucket.founder in seen.owners
        if bucket.founder in seen.founders and not trusted:
            # One who was removed could else put himself back. The configuration may name him still.
            raise SetupError(
                f"{self._documents.name} is vouched for by {bucket.founder.hex()}, who did once and does not any more: "
                f"if the team says that this is right, remove {self._seen_file}"
            )
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
            f"the storage back; if it was you, from a backup, remove {self._seen_file}"
        )

    async def _own_keys(
        self,
        key: MemberKey,
        bucket_id: bytes,
        roster: Roster,
        generations: list[int],
        known: dict[int, GenerationKeys],
    ) -> tuple[dict[int, GenerationKeys], list[str]]:
        problems: list[str] = []
        member = roster.members.get(key.public)
        role = Role.READER if member is None else member.role

        async def read(generation: int) -> GenerationKeys | None:
            if generation in known:
                return known[generation]
            try:
                signed = await self._documents.sealed_keys(bucket_id, generation, key.public)
                if signed is None:
                    return None
                if not roster.is_owner(signed.signer):
                    raise DocumentError(f"{keys_path(generation, key.public)} is signed by one who is no owner")
                return parse_keys(key, generation, signed)
            except DocumentError as error:
                again = f"`ipfsreg team add {key.public.hex()} --role {role}`"
                problems.append(f"{error}: have an owner run {again}, which makes this member's keys anew")
                return None

        found = [keys for keys in await gather(read, generations) if keys is not None]
        if len({keys.name_key for keys in found}) > 1:
            raise Corrupt(f"{self._documents.name}: the generations have different keys for names")
        return {keys.generation: keys for keys in found}, problems


def _last_known(member: Member) -> int:
    """The newest generation that a record tells of: there is one from which on somebody is less than he was."""
    end = member.writes[1] if member.writes is not None else None
    return max(member.until or 0, end or 0)
