"""Random layers that cost little to make: one shared file of random bytes, and a fresh first block for each.

Neither time nor page cache would allow for a new random gigabyte before each upload. A layer is sixteen fresh
random bytes followed by bytes of the shared file, from another page on than the layer before: its digest is new, its
content cannot be compressed, and no MiB of it has been seen, which counts where a storage keeps equal blocks once.
"""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

PREFIX_LENGTH = 16
_CHUNK = 1 << 20
_PAGE = 4096


@dataclass(frozen=True)
class Layer:
    """A layer's identity: its own first bytes, and where in the shared file the others begin."""

    prefix: bytes
    size: int
    digest: str
    begin: int


class Payload:
    """The shared file; make one for a whole measurement, and layers from it."""

    def __init__(self, path: Path, size: int) -> None:
        """Write random bytes to ``path``: enough for layers of up to ``size`` bytes."""
        self.path = path
        self.size = size
        self._made = 0
        with path.open("wb") as file:
            left = size + _CHUNK
            while left:
                left -= file.write(os.urandom(min(_CHUNK, left)))

    def layer(self, size: int, *, known: bool = False) -> Layer:
        """A layer that nobody has seen, of ``size`` bytes (it hashes as many: not for inside the clock).

        ``known`` has it be the same as every other such layer but for its first MiB. One in 256 of the others is, too.
        """
        if not PREFIX_LENGTH <= size <= self.size:
            raise ValueError(f"a layer has {PREFIX_LENGTH} to {self.size} bytes, not {size}")
        begin = PREFIX_LENGTH
        if not known:
            self._made += 1
            begin += self._made % (_CHUNK // _PAGE) * _PAGE
        prefix = secrets.token_bytes(PREFIX_LENGTH)
        digest = hashlib.sha256(prefix)
        with self.path.open("rb") as file:
            file.seek(begin)
            left = size - PREFIX_LENGTH
            while left:
                chunk = file.read(min(_CHUNK, left))
                digest.update(chunk)
                left -= len(chunk)
        return Layer(prefix, size, f"sha256:{digest.hexdigest()}", begin)
