"""Reading an answer: from header fields and bytes to messages and a status. No I/O here."""

from .errors import UnexpectedAnswer
from .framing import MESSAGE, FrameParser
from .metadata import Metadata
from .status import Status, find_status
from .text import TextDecoder

_TEXT = "application/grpc-web-text"


class AnswerReader:
    """One call's answer, in the forms that both transports give it.

    A POST's answer has an HTTP head, messages, and a trailer frame with the status; or it has the status in
    its HTTP headers and no body. A websocket's answer begins with a trailer frame of header fields, which may
    hold the status already. Both follow one rule: the first block of header fields with a ``grpc-status`` in
    it ends the call, and nothing after it counts.
    """

    def __init__(self, message_limit: int) -> None:
        self.status: Status | None = None
        self._frames = FrameParser(message_limit)
        self._text: TextDecoder | None = None

    def head(self, http_status: int, headers: Metadata) -> None:
        """Take the head of an HTTP response.

        :raises UnexpectedAnswer: where it holds no status and cannot begin one either.
        """
        self.status = find_status(headers)
        if self.status is not None:
            return
        if http_status != 200:
            raise UnexpectedAnswer(f"the server answers HTTP status {http_status}", http_status)
        self._check_content_type(headers)
        if (headers.get("content-type") or "").startswith(_TEXT):
            self._text = TextDecoder()

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes of the body.

        :raises UnexpectedAnswer: where a text body is not base64.
        """
        if self.status is None:
            self._frames.feed(data if self._text is None else self._text.decode(data))

    def next(self) -> bytes | None:
        """The next message, or None: then more bytes are needed, or `status` is there and ends the call.

        :raises MessageTooLarge: for a message above the limit.
        :raises UnexpectedAnswer: for what is not gRPC-Web.
        """
        while self.status is None:
            frame = self._frames.next()
            if frame is None:
                return None
            if frame.flag == MESSAGE:
                return frame.payload
            fields = Metadata.parse(frame.payload)
            self.status = find_status(fields)
            if self.status is None:
                # The server's complaint about a request that it does not understand comes as a block with
                # another content type and text without framing, after which it hangs.
                self._check_content_type(fields)
        return None

    def _check_content_type(self, fields: Metadata) -> None:
        content_type = fields.get("content-type")
        if content_type is not None and not content_type.lower().startswith("application/grpc"):
            raise UnexpectedAnswer("the server's answer has a content type that is not gRPC's")
