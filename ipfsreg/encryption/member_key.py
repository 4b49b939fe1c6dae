"""A member's own key: it signs what he writes, and opens what is sealed to him."""

import hashlib
import re

from nacl.encoding import RawEncoder
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.hash import blake2b
from nacl.public import SealedBox
from nacl.signing import SigningKey, VerifyKey
from nacl.utils import random

SEED_SIZE = 32
PUBLIC_SIZE = 32
SIGNATURE_SIZE = 64

_PUBLIC = re.compile(r"[0-9a-f]{64}")


class MemberKey:
    """An Ed25519 key, from its seed of 32 bytes. ``public`` is what others know the member by."""

    def __init__(self, seed: bytes) -> None:
        self._signing = SigningKey(seed)
        self._deriving = hashlib.blake2b(seed, digest_size=32, person=b"ipfsreg-derive").digest()
        self.public = bytes(self._signing.verify_key)

    @classmethod
    def generate(cls) -> "MemberKey":
        """A new one, of the system's randomness."""
        return cls(random(SEED_SIZE))

    def seed(self) -> bytes:
        """The secret, 32 bytes. A method, so that nothing that lists attributes shows it."""
        return bytes(self._signing)

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of a message, 64 bytes."""
        return self._signing.sign(message).signature

    def derive(self, purpose: bytes, data: bytes) -> bytes:
        """32 bytes that only who has this key can compute. ``purpose`` is at most 16 bytes long."""
        return blake2b(data, digest_size=32, key=self._deriving, person=purpose, encoder=RawEncoder)

    def unseal(self, sealed: bytes) -> bytes:
        """What somebody sealed with `seal_to` this key's public half.

        :raises ValueError: where it was sealed to another one, or is nothing sealed.
        """
        try:
            return SealedBox(self._signing.to_curve25519_private_key()).decrypt(sealed)
        except (CryptoError, TypeError, ValueError):
            raise ValueError("not sealed to this key") from None

    def __repr__(self) -> str:
        return f"<MemberKey {self.public.hex()}>"


def seal_to(public: bytes, plain: bytes) -> bytes:
    """Encrypt so that only the member of a public key can read it (libsodium's ``crypto_box_seal``).

    :raises ValueError: for what is no public key.
    """
    try:
        return SealedBox(VerifyKey(public).to_curve25519_public_key()).encrypt(plain)
    except (RuntimeError, TypeError, ValueError, CryptoError):
        raise ValueError("not a public key") from None


def is_signed_by(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature of 64 bytes is that of a message by the member of a public key."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, TypeError, ValueError):
        return False
    return True


def parse_public_key(text: str) -> bytes:
    """A public key from its 64 hexadecimal digits.

    :raises ValueError: where it is none.
    """
    text = text.strip().lower()
    if not _PUBLIC.fullmatch(text):
        raise ValueError("a member's public key has 64 hexadecimal digits; `ipfsreg keys show` prints it")
    public = bytes.fromhex(text)
    try:
        seal_to(public, b"")
    except ValueError:
        raise ValueError("these 64 digits are no member's public key: one was mistyped") from None
    return public
