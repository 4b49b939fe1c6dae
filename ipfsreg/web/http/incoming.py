"""What a client has sent and is still to be read: heads and bodies are taken out of it, one after the other."""

from collections.abc import Sequence

from .framing import Chunked, Sized
from .head import END, Fields, Head, check_beginning, parse_head
from .limits import HeadBounds


class Incoming:
    """The bytes, and where the body ends that is being taken out of them."""

    def __init__(self, bounds: HeadBounds) -> None:
        self._bounds = bounds
        self._data = b""
        self._known: dict[bytes, Fields] = {}
        self._framing: Sized | Chunked = Sized(0)

    def __len__(self) -> int:
        return len(self._data)

    def add(self, data: bytes) -> None:
        """More came."""
        self._data = self._data + data if self._data else data

    def clear(self) -> None:
        """Nobody will look at it."""
        self._data = b""

    def take_head(self) -> Head | None:
        """The next request without its body, which is taken next; None where its end has not come.

        :raises BadRequest: where what came is not the beginning of a request.
        """
        data, begin = self._data, 0
        while data.startswith(b"\r\n", begin):  # some clients end a body with it (RFC 9112, 2.2)
            begin += 2
        if begin:
            data = self._data = data[begin:]
        end = data.find(END)
        if end < 0 or end > self._bounds.size:
            check_beginning(data if end < 0 else data[:end], self._bounds.size)
            return None
        end += len(END)
        head = parse_head(data[:end], self._bounds.count, self._known)
        self._data = data[end:]
        length = head.fields.length
        if length != 0:
            self._framing = Chunked() if length is None else Sized(length)
        return head

    def take_body(self) -> tuple[Sequence[bytes], float, bool]:
        """What there is of the body, the mean length of the pieces in which it came, and whether that was the end.

        :raises BadChunk: where it is not in chunks, as its head says.
        """
        data, self._data = self._data, b""
        pieces, rest = self._framing.feed(data)
        self._data = rest or b""
        return pieces, len(data) / max(self._framing.pieces, 1), rest is not None
