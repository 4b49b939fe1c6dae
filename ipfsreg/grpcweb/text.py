"""The text form of gRPC-Web: base64, but not one base64."""

import base64
import binascii

from .errors import UnexpectedAnswer


class TextDecoder:
    """Decodes an ``application/grpc-web-text`` body, whatever pieces it comes in.

    Each part that the server flushed is encoded with its own padding, so the body is a row of padded base64
    pieces (the real Go wrapper's habit); every one of them is a whole number of groups of four characters.
    """

    def __init__(self) -> None:
        self._group = b""

    def decode(self, text: bytes | bytearray) -> bytes:
        """The bytes that are complete now.

        :raises UnexpectedAnswer: for what is not base64.
        """
        text = self._group + text
        whole = len(text) - len(text) % 4
        self._group = text[whole:]
        pieces, start = [], 0
        while start < whole:
            padding = text.find(b"=", start, whole)
            end = whole if padding < 0 else padding - padding % 4 + 4
            try:
                pieces.append(base64.b64decode(text[start:end], validate=True))
            except binascii.Error:
                raise UnexpectedAnswer("the answer says it is base64 and is not") from None
            start = end
        return b"".join(pieces)
