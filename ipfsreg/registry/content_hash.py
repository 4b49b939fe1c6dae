"""The hash of content on its way in: of the whole, and of each MiB of it, which are the leaves of its DAG."""

from ..ipfs.file_dag import PROFILE
from .digest import Hash, new_hash


class ContentHash:
    """A sha256 of all that came, and one of each chunk.

    The first chunk's is the whole's as it is then, so content of no more than a chunk is hashed once only. Beyond
    that the two know nothing of each other: `update_whole` and `update_leaves` may be at work in two threads.
    """

    def __init__(self) -> None:
        self._whole = new_hash("sha256")
        self._until_first = PROFILE.chunk  # how much is to come of the first chunk
        self._first = b""
        self._to_skip = PROFILE.chunk
        self._chunk: Hash = new_hash("sha256")
        self._room = PROFILE.chunk
        self._others = bytearray()

    def update(self, data: bytes | memoryview, /) -> None:
        """See `Hash`."""
        self.update_whole(data)
        self.update_leaves(data)

    def update_whole(self, data: bytes | memoryview, /) -> None:
        """Take bytes in for the digest; `update_leaves` has to get the same."""
        if 0 < self._until_first <= len(data):
            view = memoryview(data)
            self._whole.update(view[: self._until_first])
            self._first = self._whole.digest()
            self._whole.update(view[self._until_first :])
        else:
            self._whole.update(data)
        self._until_first = max(self._until_first - len(data), 0)

    def update_leaves(self, data: bytes | memoryview, /) -> None:
        """Take bytes in for the leaves."""
        skipped = min(self._to_skip, len(data))
        self._to_skip -= skipped
        view = memoryview(data)[skipped:]
        while view:
            piece, view = view[: self._room], view[self._room :]
            self._chunk.update(piece)
            self._room -= len(piece)
            if not self._room:
                self._others += self._chunk.digest()
                self._chunk, self._room = new_hash("sha256"), PROFILE.chunk

    @property
    def has_more_leaves(self) -> bool:
        """Whether `update_leaves` has anything to do but to count."""
        return not self._to_skip

    def digest(self) -> bytes:
        """See `Hash`."""
        return self._whole.digest()

    def hexdigest(self) -> str:
        """See `Hash`."""
        return self._whole.hexdigest()

    def copy(self) -> "ContentHash":
        """See `Hash`."""
        other = ContentHash()
        other._whole, other._chunk = self._whole.copy(), self._chunk.copy()
        other._until_first, other._first = self._until_first, self._first
        other._to_skip, other._room = self._to_skip, self._room
        other._others = self._others.copy()
        return other

    @property
    def leaves(self) -> bytes:
        """The sha256 of each chunk, one after the other; where nothing came, that of nothing."""
        begun = b"" if self._room == PROFILE.chunk else self._chunk.digest()
        return (self._first or self._whole.digest()) + self._others + begun


def leaves_of(content: bytes) -> bytes:
    """The sha256 of each chunk of content that is in memory."""
    hash_ = ContentHash()
    hash_.update(content)
    return hash_.leaves
