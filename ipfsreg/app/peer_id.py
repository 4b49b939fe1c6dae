"""The peer ID under which this daemon stands in routing records."""

from pathlib import Path

import multibase
from nacl.signing import SigningKey

# The multihash "identity" of a protobuf: type Ed25519, and 32 bytes.
_PREFIX = bytes.fromhex("002408011220")


def load_peer_id(path: Path) -> str:
    """Read the peer ID from a file, or make one and write it there.

    It is that of a key pair that nobody keeps: over HTTP a provider is never asked to prove it.

    :raises OSError: where the file can be neither read nor written.
    """
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        made = to_peer_id(bytes(SigningKey.generate().verify_key))
        path.write_text(made + "\n", encoding="ascii")
        return made


def to_peer_id(public_key: bytes) -> str:
    """The peer ID of an Ed25519 public key, in base58."""
    content = _PREFIX + public_key
    digits: str = multibase.encode("base58btc", content[1:]).decode("ascii")[1:]
    return "1" + digits  # for the zero that it begins with, which the library would drop
