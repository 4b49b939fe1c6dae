"""What can become of a call, other than a good answer."""

from .metadata import Metadata
from .status import GrpcStatus


class CallError(Exception):
    """Any failure of a call. The text fits into a log line and holds no metadata."""


class GrpcError(CallError):
    """The server answered, with a status other than OK.

    ``code`` is that status (a number unknown to gRPC becomes UNKNOWN), ``message`` the server's text, decoded
    and otherwise as it came, ``trailers`` all header fields that came with it.
    """

    def __init__(self, code: GrpcStatus, message: str, trailers: Metadata) -> None:
        super().__init__(f"{code.name} ({code.value}): {one_line(message)}")
        self.code = code
        self.message = message
        self.trailers = trailers


class ConnectionBroken(CallError):
    """The call ended without a status: the server may have done what it was asked, or not."""


class NotConnected(ConnectionBroken):
    """No connection came about, so nothing was sent: the call can be made again without harm."""


class UnexpectedAnswer(ConnectionBroken):
    """What answered does not speak gRPC-Web, or speaks it wrongly: a proxy, another program, another version.

    ``http_status`` is the HTTP status where that was what was wrong (502, 503 … of a proxy), else None.
    """

    def __init__(self, message: str, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status


class MessageTooLarge(CallError):
    """The server sent a message above the channel's limit."""


class DeadlineExceeded(CallError):
    """This side gave the call up. ``idle`` says whether for silence, or for the call's whole time."""

    def __init__(self, seconds: float, idle: bool) -> None:
        what = "nothing moved" if idle else "the call did not end"
        super().__init__(f"{what} within {seconds:g} s")
        self.idle = idle


class CallCancelled(CallError):
    """This side cancelled the call."""

    def __init__(self) -> None:
        super().__init__("the call was cancelled")


def one_line(text: str) -> str:
    """A peer's text with every character escaped that could break a log line."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
