"""A member's own key: it signs what he writes, and opens what is sealed to him."""

import hashlib

from nacl.encoding import RawEncoder
from nacl.hash import blake2b
from nacl.signing import SigningKey

SEED_SIZE = 32
PUBLIC_SIZE = 32


class MemberKey:
    """An Ed25519 key, from its seed of 32 bytes. ``public`` is what others know the member by."""

    def __init__(self, seed: bytes) -> None:
        self._signing = SigningKey(seed)
        self._deriving = hashlib.blake2b(seed, digest_size=32, person=b"ipfsreg-derive").digest()
        self.public = bytes(self._signing.verify_key)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of a message, 64 bytes."""
        return self._signing.sign(message).signature

    def derive(self, purpose: bytes, data: bytes) -> bytes:
        """32 bytes that only who has this key can compute. ``purpose`` is at most 16 bytes long."""
        return blake2b(data, digest_size=32, key=self._deriving, person=purpose, encoder=RawEncoder)

    def __repr__(self) -> str:
        return f"<MemberKey {self.public.hex()}>"
