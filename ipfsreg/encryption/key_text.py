"""How a member's key is written down: as the text of a file, with or without a passphrase, and to be printed."""

import base64
import hashlib
import json
from typing import Any

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.utils import random

from .member_key import PUBLIC_SIZE, SEED_SIZE, MemberKey

_KIND = "ipfsreg member key"
_VERSION = 1

OPERATIONS, MEMORY = argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE
"""What argon2id costs whoever tries a passphrase: passes, and bytes."""

_OPERATIONS_MAX = 16
_MEMORY_MAX = 1024**3

_CHECKSUM_SIZE = 3  # with the 32 bytes of a seed, that makes 56 digits of base32, without padding
_GROUP = 4
_LINE = 7
_RECOVERY_DIGITS = 56
_MISREAD = str.maketrans({"0": "O", "1": "I", "8": "B"})


class PassphraseNeeded(ValueError):
    """The key is under a passphrase, and none was given."""


def to_key_text(key: MemberKey, passphrase: str = "", operations: int = OPERATIONS, memory: int = MEMORY) -> str:
    """The text of a key's file; with a passphrase, nobody reads the key without it. It takes about a second then."""
    found: dict[str, Any] = {_KIND: _VERSION, "public": key.public.hex()}
    if passphrase:
        salt = random(argon2id.SALTBYTES)
        box = SecretBox(_stretched(passphrase, salt, operations, memory)).encrypt(key.seed())
        found["passphrase"] = {
            "salt": _to_text(salt),
            "operations": operations,
            "memory": memory,
            "box": _to_text(bytes(box)),
        }
    else:
        found["seed"] = _to_text(key.seed())
    return json.dumps(found, indent=1) + "\n"


def public_key_in(text: str) -> bytes:
    """The public key that a key's file says, for which no passphrase is needed.

    :raises ValueError: where the text is no key's; it is not quoted.
    """
    found = _parsed(text)
    try:
        public = bytes.fromhex(found["public"])
    except (KeyError, TypeError, ValueError):
        public = b""
    if len(public) != PUBLIC_SIZE or ("seed" in found) == ("passphrase" in found):
        raise ValueError("it is not whole")
    return public


def needs_passphrase(text: str) -> bool:
    """Whether the key of a file is under a passphrase.

    :raises ValueError: where the text is no key's.
    """
    public_key_in(text)
    return "passphrase" in _parsed(text)


def parse_key_text(text: str, passphrase: str = "") -> MemberKey:
    """The key of a file's text. With a passphrase it takes about a second.

    :raises PassphraseNeeded: where it is under one, and none was given.
    :raises ValueError: where the passphrase is wrong, or the text is no key's; neither is quoted.
    """
    public, found = public_key_in(text), _parsed(text)
    if "seed" in found:
        seed = _to_bytes(found["seed"], SEED_SIZE)
    elif not passphrase:
        raise PassphraseNeeded("it is under a passphrase")
    else:
        seed = _unlocked(found["passphrase"], passphrase)
    key = MemberKey(seed)
    if key.public != public:
        raise ValueError("its two halves do not belong together")
    return key


def to_recovery_text(key: MemberKey) -> str:
    """A key to be printed and typed back: two lines of seven groups of four letters and digits, with a checksum."""
    digits = base64.b32encode(key.seed() + _checksum(key.seed())).decode("ascii")
    groups = [digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP)]
    return "\n".join(" ".join(groups[at : at + _LINE]) for at in range(0, len(groups), _LINE))


def parse_recovery_text(text: str) -> MemberKey:
    """The key of `to_recovery_text`. Capitals, blanks and hyphens do not matter; 0, 1 and 8 are O, I and B.

    :raises ValueError: where it was mistyped; the text is not quoted.
    """
    digits = "".join(text[: 8 * _RECOVERY_DIGITS].split()).replace("-", "").upper().translate(_MISREAD)
    if len(digits) != _RECOVERY_DIGITS or len(text) > 8 * _RECOVERY_DIGITS:
        raise ValueError(f"a recovery key has {_RECOVERY_DIGITS} letters and digits, and this has {len(digits)}")
    try:
        found = base64.b32decode(digits)
    except ValueError:
        raise ValueError("a recovery key has letters and the digits 2 to 7 only") from None
    seed = found[:SEED_SIZE]
    if _checksum(seed) != found[SEED_SIZE:]:
        raise ValueError("this is not the recovery key as it was printed: one letter or more was mistyped")
    return MemberKey(seed)


def _checksum(seed: bytes) -> bytes:
    return hashlib.blake2b(seed, digest_size=_CHECKSUM_SIZE, person=b"ipfsreg-recover").digest()


def _stretched(passphrase: str, salt: bytes, operations: int, memory: int) -> bytes:
    return argon2id.kdf(SecretBox.KEY_SIZE, passphrase.encode(), salt, opslimit=operations, memlimit=memory)


def _unlocked(found: Any, passphrase: str) -> bytes:
    if not isinstance(found, dict):
        raise ValueError("it is not whole")
    operations, memory = found.get("operations"), found.get("memory")
    if type(operations) is not int or not 1 <= operations <= _OPERATIONS_MAX:
        raise ValueError("it is not whole")
    if type(memory) is not int or not argon2id.MEMLIMIT_MIN <= memory <= _MEMORY_MAX:
        raise ValueError("it is not whole")
    salt = _to_bytes(found.get("salt"), argon2id.SALTBYTES)
    box = _to_bytes(found.get("box"), SEED_SIZE + SecretBox.NONCE_SIZE + SecretBox.MACBYTES)
    try:
        return SecretBox(_stretched(passphrase, salt, operations, memory)).decrypt(box)
    except CryptoError:
        raise ValueError("the passphrase is wrong") from None


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or _KIND not in found:
        raise ValueError("it is no member's key")
    if found[_KIND] != _VERSION:
        raise ValueError("it is of a newer ipfsreg")
    return found


def _to_text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _to_bytes(text: Any, size: int) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):
        content = b""
    if len(content) != size:
        raise ValueError("it is not whole")
    return content
