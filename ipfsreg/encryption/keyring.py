"""The keys of an encrypted bucket as they are at a moment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .member_key import MemberKey


class UnknownGeneration(KeyError):
    """The bucket's key of that generation is not in the key ring: it came later, or this member never had it."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """A snapshot: it never changes, and a rotation makes another one.

    ``bucket_id`` and ``name_key`` (32 bytes each) are for the life of the bucket. ``generation`` is that of new files,
    from 1. ``member`` is the own key, or None where there is none. ``content_keys`` are 32 bytes for each generation.
    ``writes`` says by public key and generation whether a member was a writer or an owner then.
    """

    bucket_id: bytes
    name_key: bytes = field(repr=False)
    generation: int
    member: MemberKey | None
    content_keys: Mapping[int, bytes] = field(repr=False)
    writes: Callable[[bytes, int], bool] = field(repr=False)

    def content_key(self, generation: int) -> bytes:
        """The key that wraps the keys of files of a generation, 32 bytes.

        :raises UnknownGeneration: where it is not here.
        """
        try:
            return self.content_keys[generation]
        except KeyError:
            raise UnknownGeneration(generation) from None

    def may_have_written(self, author: bytes, generation: int) -> bool:
        """Whether the member of a public key was allowed to write files of a generation."""
        return self.writes(author, generation)

    @property
    def can_write(self) -> bool:
        """Whether the own key may write now."""
        return self.member is not None and self.may_have_written(self.member.public, self.generation)


class KeyringSource(Protocol):
    """Where the key ring comes from; it may be another one after a rotation."""

    def current(self) -> Keyring:
        """The key ring as it is now. It may be called in any thread."""

    async def fresh(self) -> Keyring:
        """The one to store something with: nearly as the storage has it at the moment."""

    async def renewed(self) -> Keyring:
        """One that is read after this call."""


@dataclass(frozen=True, slots=True)
class FixedKeyring:
    """A `KeyringSource` whose key ring stays as it is."""

    keyring: Keyring

    def current(self) -> Keyring:
        return self.keyring

    async def fresh(self) -> Keyring:
        return self.keyring

    async def renewed(self) -> Keyring:
        return self.keyring
