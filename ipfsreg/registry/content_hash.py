"""The hash of content on its way in: of the whole, and of each MiB of it, which are the leaves of its DAG."""

from ..ipfs.file_dag import PROFILE
from .digest import Hash, new_hash


class ContentHash:
    """A sha256 of all that came, and one of each chunk.

    The first chunk's is the whole's as it is then, so content of no more than a chunk is hashed once only.
    """

    def __init__(self) -> None:
        self._whole = new_hash("sha256")
        self._chunk: Hash | None = None  # from the second chunk on
        self._room = PROFILE.chunk
        self._leaves = bytearray()

    def update(self, data: bytes | memoryview, /) -> None:
        """See `Hash`."""
        view = memoryview(data)
        while view:
            piece, view = view[: self._room], view[self._room :]
            self._whole.update(piece)
            if self._chunk is not None:
                self._chunk.update(piece)
            self._room -= len(piece)
            if not self._room:
                self._end_chunk()

    def digest(self) -> bytes:
        """See `Hash`."""
        return self._whole.digest()

    def hexdigest(self) -> str:
        """See `Hash`."""
        return self._whole.hexdigest()

    def copy(self) -> "ContentHash":
        """See `Hash`."""
        other = ContentHash()
        other._whole = self._whole.copy()
        other._chunk = None if self._chunk is None else self._chunk.copy()
        other._room = self._room
        other._leaves = self._leaves.copy()
        return other

    @property
    def leaves(self) -> bytes:
        """The sha256 of each chunk, one after the other; where nothing came, that of nothing."""
        if self._leaves and self._room == PROFILE.chunk:
            return bytes(self._leaves)
        return bytes(self._leaves) + self._current().digest()

    def _current(self) -> Hash:
        return self._whole if self._chunk is None else self._chunk

    def _end_chunk(self) -> None:
        self._leaves += self._current().digest()
        self._chunk = new_hash("sha256")
        self._room = PROFILE.chunk


def leaves_of(content: bytes) -> bytes:
    """The sha256 of each chunk of content that is in memory."""
    hash_ = ContentHash()
    hash_.update(content)
    return hash_.leaves
