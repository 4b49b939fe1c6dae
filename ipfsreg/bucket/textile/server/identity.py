"""An identity: an Ed25519 key pair in Textile's encodings, and the file that holds it.

A key is written as multibase base32 of a protobuf message ``{1: key type, 2: bytes}`` (docs/protocols/textile.md,
"Identities and tokens"). The type is always Ed25519 and both lengths are fixed, so that the message is a fixed prefix
and the key's bytes: 32 of a public key; 32 of the seed and the 32 of the public key again of a private one.
"""

from pathlib import Path

from nacl.signing import SigningKey

from ipfsreg.bucket.errors import SetupError
from ipfsreg.bucket.private_file import PrivateFile
from ipfsreg.config.small_file import SECRET_MAX, read_small_file

from .encoding import decode_multibase, to_base32

KEY_LENGTH = 32
SIGNATURE_LENGTH = 64

_PUBLIC_PREFIX = b"\x08\x01\x12\x20"
_PRIVATE_PREFIX = b"\x08\x01\x12\x40"


class Identity:
    """A key pair. Its ``repr`` and ``str`` show the public half only."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.public_key = to_base32(_PUBLIC_PREFIX + bytes(key.verify_key))
        """The public key string, by which servers and other people name this identity."""

    @classmethod
    def generate(cls) -> "Identity":
        """A new one, of the system's randomness."""
        return cls(SigningKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "Identity":
        """The one of a seed.

        :raises ValueError: unless that is 32 bytes.
        """
        if len(seed) != KEY_LENGTH:
            raise ValueError(f"a seed has {KEY_LENGTH} bytes")
        return cls(SigningKey(seed))

    @classmethod
    def parse(cls, private_key: str) -> "Identity":
        """Read a private key string.

        :raises ValueError: for anything else; its text holds nothing of what was given.
        """
        data = decode_multibase(private_key)
        if not data.startswith(_PRIVATE_PREFIX) or len(data) != len(_PRIVATE_PREFIX) + 2 * KEY_LENGTH:
            raise ValueError("not an Ed25519 private key")
        halves = data.removeprefix(_PRIVATE_PREFIX)
        identity = cls.from_seed(halves[:KEY_LENGTH])
        if bytes(identity._key.verify_key) != halves[KEY_LENGTH:]:
            raise ValueError("the two halves of the private key do not belong together")
        return identity

    def private_key(self) -> str:
        """The private key string: a secret. A method, so that nothing that lists attributes shows it."""
        return to_base32(_PRIVATE_PREFIX + bytes(self._key) + bytes(self._key.verify_key))

    def sign(self, challenge: bytes) -> bytes:
        """The detached signature (64 bytes) over exactly these bytes, as a server's challenge asks for."""
        return bytes(self._key.sign(challenge).signature)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and bytes(self._key) == bytes(other._key)

    def __hash__(self) -> int:
        return hash(self.public_key)

    def __repr__(self) -> str:
        return f"<Identity {self.public_key}>"


def check_public_key(text: str) -> str:
    """A public key string in the one form that servers write it in, whatever base it was given in.

    :raises ValueError: where it is none.
    """
    try:
        data = decode_multibase(text.strip())
    except ValueError:
        data = b""
    if not data.startswith(_PUBLIC_PREFIX) or len(data) != len(_PUBLIC_PREFIX) + KEY_LENGTH:
        raise ValueError("not a public key: one begins with `bbaareia`, and `ipfsreg identity show` prints it")
    return to_base32(data)


def save_identity(identity: Identity, path: Path) -> None:
    """Write an identity to a new file that only its owner can read: there whole or not at all, and never over
    another file, which may be a key that somebody's access hangs on.

    :raises SetupError: where that cannot be.
    """
    PrivateFile(path).keep(identity.private_key() + "\n")


def load_identity(path: Path) -> Identity:
    """Read an identity from its file.

    :raises SetupError: where it cannot be read, or holds something else, which is not quoted.
    """
    try:
        content = read_small_file(path, SECRET_MAX)
    except OSError as error:
        raise SetupError(f"cannot read the identity file {path}: {error.strerror}") from None
    try:
        return Identity.parse(content.decode("ascii").strip())
    except UnicodeDecodeError:
        why = "not a private key string"
    except ValueError as error:
        why = str(error)
    raise SetupError(f"{path} holds no identity ({why}); make one with `ipfsreg identity make`")
