"""Reading and writing a team's documents in the storage, which may give anything."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ipfsreg.bucket.errors import Corrupt, NotFound, TooLarge
from ipfsreg.bucket.interface import IBucket
from ipfsreg.encryption.documents import (
    BUCKET,
    DOCUMENT_MAX,
    KEYS,
    MEMBERS,
    STATE,
    BucketDocument,
    DocumentError,
    GenerationKeys,
    Member,
    Signed,
    decode,
    decode_bucket,
    encode_bucket,
    encode_keys,
    encode_member,
    keys_path,
    member_path,
    parse_generation,
    parse_member_name,
)
from ipfsreg.encryption.member_key import MemberKey
from ipfsreg.flow.gather import gather

MEMBERS_MAX = 2000
"""Members that a bucket may ever have had. What a storage shows beyond that is refused."""

GENERATIONS_MAX = 20_000
"""As `MEMBERS_MAX`, for generations."""


@dataclass(frozen=True, slots=True)
class SignedRecords:
    """The members' records whose signature is somebody's, by public key; ``problems`` are lines about the others."""

    records: dict[bytes, Signed]
    problems: tuple[str, ...]


class TeamDocuments:
    """The documents of one bucket, which is the storage itself and not what stands before it."""

    def __init__(self, storage: IBucket) -> None:
        self._storage = storage
        self.name: str = storage.name

    async def bucket(self) -> BucketDocument | None:
        """The document of the bucket; None where there is none. `Corrupt` where its founder did not sign it."""
        content = await self._get(BUCKET)
        if content is None:
            return None
        try:
            return decode_bucket(content)
        except DocumentError as error:
            raise Corrupt(f"{self.name}: {error}") from None

    async def records(self, bucket_id: bytes) -> SignedRecords:
        """All members' records."""
        names = await self._names(MEMBERS)
        problems = [
            f"{name[:80]!r} in {MEMBERS} is no member's record" for name in names if parse_member_name(name) is None
        ]
        keys = [public for public in map(parse_member_name, names) if public is not None]

        async def read(public: bytes) -> Signed | None:
            try:
                return await self._signed(bucket_id, member_path(public))
            except DocumentError as error:
                problems.append(str(error))
                return None

        found = await gather(read, keys)
        records = {public: signed for public, signed in zip(keys, found, strict=True) if signed is not None}
        return SignedRecords(records, tuple(problems))

    async def generations(self) -> list[int]:
        """The generations of which somebody has keys, in order."""
        names = await self._names(KEYS, GENERATIONS_MAX)
        return sorted(number for number in map(parse_generation, names) if number is not None)

    async def holders(self, generation: int) -> set[bytes]:
        """To whom a generation's keys are sealed."""
        names = await self._names(f"{KEYS}/{generation}")
        return {public for public in map(parse_member_name, names) if public is not None}

    async def sealed_keys(self, bucket_id: bytes, generation: int, public: bytes) -> Signed | None:
        """A generation's keys as they are sealed to a member, or None. :raises DocumentError:"""
        return await self._signed(bucket_id, keys_path(generation, public))

    async def state(self, bucket_id: bytes) -> Signed | None:
        """The document of the state that the storage is in, or None. :raises DocumentError:"""
        return await self._signed(bucket_id, STATE)

    async def put_bucket(self, key: MemberKey, document: BucketDocument) -> None:
        """Store the document of the bucket."""
        await self._storage.put(BUCKET, encode_bucket(key, document))

    async def put_member(self, key: MemberKey, bucket_id: bytes, member: Member) -> None:
        """Store a member's record."""
        await self._storage.put(member_path(member.public), encode_member(key, bucket_id, member))

    async def put_keys(self, key: MemberKey, bucket_id: bytes, keys: GenerationKeys, members: Iterable[bytes]) -> None:
        """Seal a generation's keys to members, and store them."""

        async def put(public: bytes) -> None:
            content = encode_keys(key, bucket_id, public, keys)
            await self._storage.put(keys_path(keys.generation, public), content)

        await gather(put, members)

    async def _signed(self, bucket_id: bytes, path: str) -> Signed | None:
        content = await self._get(path)
        return None if content is None else decode(bucket_id, path, content)

    async def _get(self, path: str) -> bytes | None:
        try:
            return await self._storage.get(path, DOCUMENT_MAX)
        except NotFound:
            return None
        except (TooLarge, Corrupt):
            raise DocumentError(f"{path} is no document of a team") from None

    async def _names(self, directory: str, most: int = MEMBERS_MAX) -> Sequence[str]:
        entries = await self._storage.list(directory)
        if len(entries) > most:
            raise Corrupt(f"{self.name}: {directory} has more than {most} entries")
        return [entry.name for entry in entries]
