"""The signed documents of a team: who founded the bucket, who is a member, and the keys sealed to each.

A document is ``signer 32 | signature 64 | payload``, the payload JSON of at most 4 KiB. The signature is over
``DOMAIN | bucket id | path | 0x00 | payload``, so that a document counts at its path of its bucket only. That of the
bucket itself says the id, and is signed with 32 zeros in its place. See docs/encryption.md, "Team documents".
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from .member_key import PUBLIC_SIZE, SIGNATURE_SIZE, MemberKey, is_signed_by, seal_to

DOMAIN = b"ipfsreg document 1\0"
FOLDER = "encryption"
BUCKET = f"{FOLDER}/bucket"
MEMBERS = f"{FOLDER}/members"
KEYS = f"{FOLDER}/keys"
STATE = f"{FOLDER}/state"

FORMAT = 1
PAYLOAD_MAX = 4096
DOCUMENT_MAX = PUBLIC_SIZE + SIGNATURE_SIZE + PAYLOAD_MAX

ID_SIZE = KEY_SIZE = 32
GENERATION_MAX = 2**32 - 1
COUNTER_MAX = 2**53 - 1
NAME_MAX = 64

_NO_ID = bytes(ID_SIZE)


class DocumentError(ValueError):
    """A document that counts for nothing, and why."""


class Role(StrEnum):
    """What a member may do. Each role but ``REMOVED`` includes the ones before it."""

    REMOVED = "removed"
    READER = "reader"
    WRITER = "writer"
    OWNER = "owner"


WRITING = frozenset({Role.WRITER, Role.OWNER})


@dataclass(frozen=True, slots=True)
class BucketDocument:
    """Which bucket it is, and whose signature the rest hangs on."""

    bucket_id: bytes
    founder: bytes
    counter: int = 1

    def payload(self) -> dict[str, Any]:
        """See `encode`."""
        return {
            "format": FORMAT,
            "bucket": self.bucket_id.hex(),
            "founder": self.founder.hex(),
            "counter": self.counter,
        }


@dataclass(frozen=True, slots=True)
class Member:
    """One member's record.

    ``writes`` are the generations in whose files his signature counts, from the first to before the last; None is
    without an end, and none at all where ``writes`` is None. ``until`` is the first generation that he has no key of.
    """

    public: bytes
    name: str
    role: Role
    since: int
    until: int | None = None
    writes: tuple[int, int | None] | None = None
    counter: int = 1

    @property
    def is_member(self) -> bool:
        """Whether he was not removed."""
        return self.role is not Role.REMOVED

    def may_have_written(self, generation: int) -> bool:
        """Whether his signature counts in a file of a generation."""
        if self.writes is None:
            return False
        first, end = self.writes
        return first <= generation and (end is None or generation < end)

    def next(self, **changes: Any) -> "Member":
        """The record that follows this one."""
        return replace(self, counter=self.counter + 1, **changes)

    def payload(self) -> dict[str, Any]:
        """See `encode`."""
        return {
            "name": self.name,
            "role": self.role.value,
            "since": self.since,
            "until": self.until,
            "writes": None if self.writes is None else list(self.writes),
            "counter": self.counter,
        }


@dataclass(frozen=True, slots=True)
class GenerationKeys:
    """What a member needs to know of a generation."""

    generation: int
    content_key: bytes
    name_key: bytes

    def __repr__(self) -> str:
        return f"<GenerationKeys of {self.generation}>"


@dataclass(frozen=True, slots=True)
class Signed:
    """A document whose signature is that of its ``signer``. That says nothing of what he may sign."""

    signer: bytes
    payload: Mapping[str, Any]


def member_path(public: bytes) -> str:
    """Where a member's record is."""
    return f"{MEMBERS}/{public.hex()}"


def keys_path(generation: int, public: bytes) -> str:
    """Where a generation's keys are, sealed to a member."""
    return f"{KEYS}/{generation}/{public.hex()}"


def encode(key: MemberKey, bucket_id: bytes, path: str, payload: Mapping[str, Any]) -> bytes:
    """A document, signed. :raises ValueError: where it is too long."""
    content = json.dumps(payload, separators=(",", ":"), sort_keys=True).encode()
    if len(content) > PAYLOAD_MAX:
        raise ValueError("a document of a team is at most 4 KiB long")
    return key.public + key.sign(_signed(bucket_id, path, content)) + content


def decode(bucket_id: bytes, path: str, content: bytes) -> Signed:
    """The document at a path. Nothing of it is parsed before its signature holds.

    :raises DocumentError: where it is none, or was changed, or belongs elsewhere.
    """
    signer, signature = content[:PUBLIC_SIZE], content[PUBLIC_SIZE : PUBLIC_SIZE + SIGNATURE_SIZE]
    payload = content[PUBLIC_SIZE + SIGNATURE_SIZE :]
    if (
        not payload
        or len(content) > DOCUMENT_MAX
        or not is_signed_by(signer, _signed(bucket_id, path, payload), signature)
    ):
        raise DocumentError(f"{path} is not as it was signed")
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DocumentError(f"{path} is not in the format of this ipfsreg")
    return Signed(signer, found)


def encode_bucket(key: MemberKey, document: BucketDocument) -> bytes:
    """The document of the bucket, signed by its founder."""
    return encode(key, _NO_ID, BUCKET, document.payload())


def decode_bucket(content: bytes) -> BucketDocument:
    """The document of the bucket. :raises DocumentError: where its founder did not sign it."""
    signed = decode(_NO_ID, BUCKET, content)
    payload = signed.payload
    if payload.get("format") != FORMAT:
        raise DocumentError(f"{BUCKET} is of a newer ipfsreg, which this one does not know")
    document = BucketDocument(
        _hex(payload, "bucket", BUCKET),
        _hex(payload, "founder", BUCKET),
        _number(payload, "counter", 1, COUNTER_MAX, BUCKET),
    )
    if document.founder != signed.signer:
        raise DocumentError(f"{BUCKET} is not signed by the founder whom it names")
    return document


def encode_member(key: MemberKey, bucket_id: bytes, member: Member) -> bytes:
    """A member's record, signed."""
    return encode(key, bucket_id, member_path(member.public), member.payload())


def parse_member(public: bytes, signed: Signed) -> Member:
    """A member's record. :raises DocumentError: where it is not in the format."""
    path, payload = member_path(public), signed.payload
    name, role, writes = payload.get("name"), payload.get("role"), payload.get("writes")
    if not isinstance(name, str) or not is_name(name) or role not in list(Role):
        raise DocumentError(f"{path} is not in the format of this ipfsreg")
    if writes is not None:
        if not isinstance(writes, list) or len(writes) != 2:
            raise DocumentError(f"{path} is not in the format of this ipfsreg")
        first, end = writes
        writes = (_generation(first, path), None if end is None else _generation(end, path))
    until = payload.get("until")
    return Member(
        public,
        name,
        Role(role),
        _generation(payload.get("since"), path),
        None if until is None else _generation(until, path),
        writes,
        _number(payload, "counter", 1, COUNTER_MAX, path),
    )


def encode_keys(key: MemberKey, bucket_id: bytes, public: bytes, keys: GenerationKeys) -> bytes:
    """A generation's keys, sealed to a member and signed. :raises ValueError: for what is no public key."""
    sealed = seal_to(public, keys.generation.to_bytes(4, "big") + keys.content_key + keys.name_key)
    payload = {"generation": keys.generation, "sealed": base64.b64encode(sealed).decode("ascii")}
    return encode(key, bucket_id, keys_path(keys.generation, public), payload)


def parse_keys(key: MemberKey, generation: int, signed: Signed) -> GenerationKeys:
    """A generation's keys that were sealed to a key. :raises DocumentError: where they are not those."""
    path = keys_path(generation, key.public)
    try:
        plain = key.unseal(base64.b64decode(signed.payload["sealed"], validate=True))
    except (KeyError, TypeError, ValueError):
        raise DocumentError(f"{path} is not sealed to its member") from None
    if len(plain) != 4 + 2 * KEY_SIZE or int.from_bytes(plain[:4], "big") != generation:
        raise DocumentError(f"{path} is of another generation")
    return GenerationKeys(generation, plain[4 : 4 + KEY_SIZE], plain[4 + KEY_SIZE :])


def encode_state(key: MemberKey, bucket_id: bytes, number: int, top: Mapping[str, str]) -> bytes:
    """The document of a state of the bucket as a whole. ``top`` are the CIDs at the top, by the stored names."""
    return encode(key, bucket_id, STATE, {"number": number, "top": _hash_of(top)})


def parse_state(signed: Signed, top: Mapping[str, str]) -> int:
    """The number of a state whose top is as it was signed. :raises DocumentError:"""
    number = _number(signed.payload, "number", 1, COUNTER_MAX, STATE)
    if signed.payload.get("top") != _hash_of(top):
        raise DocumentError(f"{STATE} is of another state: what is stored was changed without being signed")
    return number


def is_name(text: str) -> bool:
    """Whether a text can be the name of a member: printable, and at most `NAME_MAX` characters long."""
    return 0 < len(text) <= NAME_MAX and text.isprintable() and text == text.strip()


def parse_generation(text: str) -> int | None:
    """The generation that a directory of `KEYS` is named after, or None."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10) or text.startswith("0"):
        return None
    return int(text) if int(text) <= GENERATION_MAX else None


def parse_member_name(text: str) -> bytes | None:
    """The public key that a document is named after, or None."""
    if len(text) != 2 * PUBLIC_SIZE or text.strip("0123456789abcdef"):
        return None
    return bytes.fromhex(text)


def _signed(bucket_id: bytes, path: str, payload: bytes) -> bytes:
    return DOMAIN + bucket_id + path.encode() + b"\0" + payload


def _hash_of(top: Mapping[str, str]) -> str:
    lines = (f"{name}\0{cid}\n" for name, cid in sorted(top.items()) if name != FOLDER)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _generation(value: Any, path: str) -> int:
    return _number({"generation": value}, "generation", 1, GENERATION_MAX, path)


def _number(payload: Mapping[str, Any], name: str, least: int, most: int, path: str) -> int:
    value = payload.get(name)
    if type(value) is not int or not least <= value <= most:
        raise DocumentError(f"{path} is not in the format of this ipfsreg")
    return value


def _hex(payload: Mapping[str, Any], name: str, path: str) -> bytes:
    value = payload.get(name)
    found = parse_member_name(value) if isinstance(value, str) else None
    if found is None:
        raise DocumentError(f"{path} is not in the format of this ipfsreg")
    return found
