"""The headers of answers, encoded once for all the answers that have them."""

from collections.abc import Iterable, Mapping
from email.utils import formatdate


class Headers:
    """Headers of an answer; those whose value is None are left out.

    :raises ValueError: for one with a line break in it.
    """

    __slots__ = ("length", "text")

    def __init__(self, headers: Mapping[str, object]) -> None:
        self.text = encode(headers.items())
        length = headers.get("Content-Length")
        self.length = None if length is None else int(str(length))
        """The Content-Length, or None where they have none."""


def encode(headers: Iterable[tuple[str, object]]) -> bytes:
    """Headers as they are sent. :raises ValueError: as `Headers`."""
    lines = [f"{name}: {value}\r\n" for name, value in headers if value is not None]
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines):
        raise ValueError(f"a header with a line break in it: {text!r}")
    return text.encode()


class CommonHeaders:
    """The headers that every answer of a server has; the date among them is made once a second."""

    def __init__(self, server: str, more: Mapping[str, str]) -> None:
        self._fixed = encode({"Server": server, **more}.items())
        self._second = 0
        self._lines = b""

    def at(self, now: float) -> bytes:
        """Those at a time, in seconds since 1970."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._lines = self._fixed + f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._lines
