"""The app token, and the key pair that comes of twelve words (docs/protocols/space.md, "Access")."""

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Self

from nacl.signing import SigningKey

# A few of BIP39's 2048 words: enough to be told apart. Their checksum is not right, and nobody here looks.
_WORDS = (
    "abandon",
    "able",
    "about",
    "above",
    "absent",
    "absorb",
    "abstract",
    "absurd",
    "abuse",
    "access",
    "accident",
    "account",
    "accuse",
    "achieve",
    "acid",
    "acoustic",
)


@dataclass(frozen=True, slots=True)
class AppToken:
    """The master token. Whoever has it may do anything."""

    key: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A new one, of 20 and 30 random bytes."""
        return cls(*(secrets.token_urlsafe(size) for size in (20, 30)))

    def __str__(self) -> str:
        return f"{self.key}.{self.secret}"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The identity that all buckets hang on."""

    mnemonic: str = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """A new one."""
        return cls(" ".join(secrets.choice(_WORDS) for _ in range(12)))

    @property
    def public_key(self) -> str:
        """32 bytes in hexadecimal."""
        seed = hashlib.pbkdf2_hmac("sha512", self.mnemonic.encode(), b"mnemonic", 2048, 64)
        return bytes(SigningKey(hashlib.pbkdf2_hmac("sha512", seed, b"iter2", 512, 32)).verify_key).hex()
