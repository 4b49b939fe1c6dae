"""The peer ID under which this daemon stands in routing records."""

import re
from pathlib import Path

import multibase

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.small_file import read_small_file
from ipfsreg.flow.durable import remove_drafts, write_durably

# The multihash "identity" of a protobuf: type Ed25519, and 32 bytes.
_PREFIX = bytes.fromhex("002408011220")
_LENGTH_MAX = 100
_PEER_ID = re.compile(rb"[1-9A-HJ-NP-Za-km-z]{40,60}\s*")


class PeerId:
    """A peer ID that is kept in a file. It is that of a key pair that nobody keeps: no client asks to prove it."""

    def __init__(self, path: Path) -> None:
        self.text = ""
        """The peer ID, once it is loaded."""
        self._path = path

    def load(self) -> None:
        """Read it, or make one and write it; for a thread.

        :raises OSError: where the file can be neither read nor written.
        :raises SetupError: where something else is in it.
        """
        try:
            self.text = read_peer_id(self._path)
        except FileNotFoundError:
            # Only the first start needs it. Unlike libsodium, what it takes is loaded already, with TLS.
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            remove_drafts(self._path)
            self.text = to_peer_id(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
            write_durably(self._path, f"{self.text}\n".encode())


def read_peer_id(path: Path) -> str:
    """The peer ID that is in a file.

    :raises FileNotFoundError: where there is none yet.
    :raises SetupError: where something else is in it, or it cannot be read.
    """
    try:
        content = read_small_file(path, _LENGTH_MAX)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _no_peer_id(path, f"; {error.strerror}") from None
    if not _PEER_ID.fullmatch(content):
        raise _no_peer_id(path)
    return content.decode("ascii").strip()


def _no_peer_id(path: Path, why: str = "") -> SetupError:
    return SetupError(f"{path} holds no peer ID: remove it, and the daemon makes a new one{why}")


def to_peer_id(public_key: bytes) -> str:
    """The peer ID of an Ed25519 public key, in base58."""
    content = _PREFIX + public_key
    digits: str = multibase.encode("base58btc", content[1:]).decode("ascii")[1:]
    return "1" + digits  # for the zero that it begins with, which the library would drop
