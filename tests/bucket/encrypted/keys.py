"""Keys for the tests of encrypted buckets."""

import hashlib
from dataclasses import replace

from ipfsreg.encryption.keyring import FixedKeyring, Keyring, KeyringSource
from ipfsreg.encryption.member_key import MemberKey


def secret(name: str) -> bytes:
    """32 bytes that are always the same for a name."""
    return hashlib.sha256(name.encode()).digest()


def keyring(member: str = "anna", *, generation: int = 1, writers: tuple[str, ...] = ("anna", "bert")) -> Keyring:
    """The keys of a bucket whose members ``writers`` may write. Each generation has its own content key."""
    allowed = {MemberKey(secret(each)).public for each in writers}
    return Keyring(
        secret("bucket"),
        secret("names"),
        generation,
        MemberKey(secret(member)),
        {number: secret(f"content {number}") for number in range(1, generation + 1)},
        lambda author, _: author in allowed,
    )


def own_key(source: KeyringSource) -> MemberKey:
    """The key of the member whose keys these are."""
    member = source.current().member
    assert member is not None
    return member


class ChangingKeyring:
    """Keys that a test rotates."""

    def __init__(self, keys: Keyring) -> None:
        self.keys = keys

    def current(self) -> Keyring:
        return self.keys

    async def fresh(self) -> Keyring:
        return self.keys

    renewed = fresh

    def rotate(self) -> None:
        generation = self.keys.generation + 1
        content = {**self.keys.content_keys, generation: secret(f"content {generation}")}
        self.keys = replace(self.keys, generation=generation, content_keys=content)


FIXED = FixedKeyring(keyring())
