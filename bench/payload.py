"""Random layers that cost little to make: one shared file of random bytes, and a fresh first block for each.

Neither time nor page cache would allow for a new random gigabyte before each upload. A layer is sixteen fresh
random bytes followed by the shared file's bytes from the sixteenth on: its digest is new, and its content
cannot be compressed.
"""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

PREFIX_LENGTH = 16
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Layer:
    """A layer's identity: its own first bytes, and the shared file that has the others."""

    prefix: bytes
    size: int
    digest: str


class Payload:
    """The shared file; make one for a whole measurement, and layers from it."""

    def __init__(self, path: Path, size: int) -> None:
        """Write ``size`` random bytes to ``path``."""
        self.path = path
        self.size = size
        with path.open("wb") as file:
            left = size
            while left:
                left -= file.write(os.urandom(min(_CHUNK, left)))

    def layer(self, size: int) -> Layer:
        """A layer that nobody has seen, of ``size`` bytes (it hashes as many: not for inside the clock)."""
        if not PREFIX_LENGTH <= size <= self.size:
            raise ValueError(f"a layer has {PREFIX_LENGTH} to {self.size} bytes, not {size}")
        prefix = secrets.token_bytes(PREFIX_LENGTH)
        digest = hashlib.sha256(prefix)
        with self.path.open("rb") as file:
            file.seek(PREFIX_LENGTH)
            left = size - PREFIX_LENGTH
            while left:
                chunk = file.read(min(_CHUNK, left))
                digest.update(chunk)
                left -= len(chunk)
        return Layer(prefix, size, f"sha256:{digest.hexdigest()}")
