"""How the daemon encrypts names and content before its buckd sees them.

See docs/protocols/space.md, "Encryption at rest".
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from tests.bucket.textile.double.content import Content

MAC_SIZE = 64
PIECE = 1024 * 1024


class CorruptError(Exception):
    """What should have been encrypted with this key was not, or has been changed."""


class BucketCipher:
    """A bucket's key: 32 bytes for AES, 16 for the one vector that all its names and files share, 32 for the MAC."""

    def __init__(self, key: bytes | None = None) -> None:
        key = key or secrets.token_bytes(80)
        self._aes, self._vector, self._mac = key[:32], key[32:48], key[48:]
        # A listing decrypts the same names again for each entry below them.
        self.decrypt_name = lru_cache(100_000)(self._decrypt_name)

    def _stream(self) -> CipherContext:
        return Cipher(AES(self._aes), CTR(self._vector)).encryptor()

    def sealing(self) -> "Sealing":
        """For one file's content, piece by piece."""
        return Sealing(self._stream(), hmac.new(self._mac, digestmod=hashlib.sha512))

    def encrypt_name(self, name: str) -> str:
        """One segment of a path."""
        sealing = self.sealing()
        return base64.urlsafe_b64encode(sealing.update(name.encode()) + sealing.finish()).decode()

    def _decrypt_name(self, name: str) -> str:
        """Get a segment of a path back.

        :raises CorruptError: for what the daemon has not written, such as buckd's own files.
        """
        try:
            data = base64.urlsafe_b64decode(name)
            sealed, mac = data[:-MAC_SIZE], data[-MAC_SIZE:]
            if not hmac.compare_digest(hmac.digest(self._mac, sealed, "sha512"), mac):
                raise CorruptError
            return self._stream().update(sealed).decode()
        except ValueError:
            raise CorruptError from None

    def encrypt_path(self, path: str) -> list[str]:
        """The segments of a path, encrypted; empty ones are dropped."""
        return [self.encrypt_name(segment) for segment in path.split("/") if segment]

    def opened(self, content: Content) -> Iterator[bytes]:
        """The plaintext of a file, piece by piece; whether it was genuine is known at the end only.

        :raises CorruptError: at the end, or where the content is too short.
        """
        end = content.size - MAC_SIZE
        if end < 0:
            raise CorruptError
        stream, mac = self._stream(), hmac.new(self._mac, digestmod=hashlib.sha512)
        for offset in range(0, end, PIECE):
            sealed = content.read(offset, min(PIECE, end - offset))
            mac.update(sealed)
            yield stream.update(sealed)
        if not hmac.compare_digest(mac.digest(), content.read(end, MAC_SIZE)):
            raise CorruptError


class Sealing:
    """The encryption of one name or one file."""

    def __init__(self, stream: CipherContext, mac: hmac.HMAC) -> None:
        self._stream = stream
        self._mac = mac

    def update(self, data: bytes) -> bytes:
        """The ciphertext of the next piece."""
        sealed = self._stream.update(data)
        self._mac.update(sealed)
        return sealed

    def finish(self) -> bytes:
        """What stands behind the ciphertext."""
        return self._mac.digest()
