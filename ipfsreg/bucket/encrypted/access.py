"""What the parts of an encrypted bucket share: the keys of the moment, and how their failures are told."""

from collections.abc import Iterator
from contextlib import contextmanager

from ipfsreg.bucket.errors import Altered, Corrupt, KeyMissing, PathTooLong, Unchangeable
from ipfsreg.encryption.chunks import Damaged
from ipfsreg.encryption.file_format import NotAWriter
from ipfsreg.encryption.keyring import Keyring, UnknownGeneration
from ipfsreg.encryption.names import NameTooLong

INLINE = 64 * 1024
"""What is shorter is encrypted and decrypted faster than a thread is woken."""


class NotBelieved(Altered):
    """A file that was signed by who might not write it, as far as the keys of the moment tell."""


@contextmanager
def named(path: str, keyring: Keyring) -> Iterator[None]:
    """Let what fails within the block be a `BucketError` that names the file at a path."""
    try:
        yield
    except Corrupt as error:
        raise Corrupt(f"{path}: {error}") from error
    except Damaged as error:
        kind = NotBelieved if isinstance(error, NotAWriter) else Altered
        raise kind(f"{path} was altered or damaged where it is stored: {error}") from None
    except UnknownGeneration as error:
        why = f"is written with the key of generation {error.args[0]}, which this daemon's member has not"
        raise KeyMissing(f"{path} {why}") from None
    except NameTooLong as error:
        raise PathTooLong(str(error)) from None


def for_writing(keyring: Keyring) -> Keyring:
    """The same keys, if one may write with them. :raises Unchangeable:"""
    if not keyring.can_write:
        raise Unchangeable("this daemon's member may only read the encrypted bucket")
    return keyring
