"""The hash of content on its way in: of the whole, and of each MiB of it, which are the leaves of its DAG."""

from ipfsreg.ipfs.file_dag import PROFILE
from ipfsreg.registry.digest import new_hash


class ContentHash:
    """A sha256 of all that came, and one of each chunk. It is a `Hash` of the first.

    The two can be fed by two threads at once, each in order. The first chunk's is the whole's as it is then, so content
    of no more than a chunk is hashed once only. Without ``chunks`` there is the hash of the whole alone.
    """

    def __init__(self, *, chunks: bool = True) -> None:
        self.chunks = chunks
        self._whole = new_hash("sha256")
        self._length = 0
        self._first = b""  # the first chunk's, once it is whole
        self._chunk = new_hash("sha256")  # of the second chunk and those after it
        self._chunks_length = 0
        self._later_leaves = bytearray()

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self.update_whole(data)
        self.update_chunks(data)

    def update_whole(self, data: bytes | bytearray | memoryview) -> None:
        """Take content into the hash of the whole."""
        missing = PROFILE.chunk - self._length
        self._length += len(data)
        view = memoryview(data)
        if 0 < missing <= len(view):
            self._whole.update(view[:missing])
            self._first = self._whole.digest()
            view = view[missing:]
        self._whole.update(view)

    def update_chunks(self, data: bytes | bytearray | memoryview) -> None:
        """Take the same content into the hashes of its chunks, if these are wanted."""
        if not self.chunks:
            return
        view = memoryview(data)[max(PROFILE.chunk - self._chunks_length, 0) :]
        self._chunks_length += len(data)
        left = PROFILE.chunk - (self._chunks_length - len(view)) % PROFILE.chunk
        while view:
            piece, view = view[:left], view[left:]
            self._chunk.update(piece)
            if len(piece) == left:
                self._later_leaves += self._chunk.digest()
                self._chunk = new_hash("sha256")
                left = PROFILE.chunk
            else:
                left -= len(piece)

    def digest(self) -> bytes:
        return self._whole.digest()

    def hexdigest(self) -> str:
        return self._whole.hexdigest()

    def copy(self) -> "ContentHash":
        other = ContentHash(chunks=self.chunks)
        other._whole = self._whole.copy()
        other._length = self._length
        other._first = self._first
        other._chunk = self._chunk.copy()
        other._chunks_length = self._chunks_length
        other._later_leaves = self._later_leaves.copy()
        return other

    @property
    def leaves(self) -> bytes | None:
        """The sha256 of each chunk, one after the other; where nothing came, that of nothing.

        None where they were not wanted.
        """
        if not self.chunks:
            return None
        if self._length < PROFILE.chunk:
            return self.digest()
        last = self._chunk.digest() if self._length % PROFILE.chunk and self._length > PROFILE.chunk else b""
        return self._first + bytes(self._later_leaves) + last


def leaves_of(content: bytes) -> bytes:
    """The sha256 of each chunk of content that is in memory."""
    hash_ = ContentHash()
    hash_.update(content)
    assert hash_.leaves is not None
    return hash_.leaves
