"""What a call and the transport that carries it ask of each other."""

from dataclasses import dataclass, field
from typing import Protocol

from .errors import CallError
from .metadata import Metadata


@dataclass(frozen=True, slots=True)
class CallHead:
    """Where a call goes: ``host`` is the value of the ``Host`` field, ``target`` the path; ``fields`` are its own."""

    host: str
    target: str
    fields: list[tuple[str, str]] = field(repr=False)


class Exchange(Protocol):
    """One call on the wire. Nothing in it calls the user back before `start`."""

    def start(self) -> None:
        """Connect, and begin as the transport does."""

    def write(self, data: bytes) -> None:
        """Send bytes of the request; only between the user's ``opened`` and `finish`."""

    def finish(self) -> None:
        """No more of the request will come."""

    def pause_receiving(self) -> None:
        """Stop reading: what is on its way already may still be delivered."""

    def resume_receiving(self) -> None:
        """Read again."""

    def close(self) -> None:
        """The status has come: end in good order. The user is not called any more."""

    def abort(self) -> None:
        """End at once; the server sees a broken connection. The user is not called any more."""


class ExchangeUser(Protocol):
    """The call, as its exchange sees it."""

    def opened(self) -> None:
        """The request can be written now."""

    def sending_paused(self) -> None:
        """The transport has enough to write for now."""

    def sending_resumed(self) -> None:
        """The transport has written what it had."""

    def head_received(self, http_status: int, headers: Metadata) -> None:
        """The head of an HTTP response is there."""

    def data_received(self, data: bytes | bytearray) -> None:
        """Bytes of the answer are there."""

    def lost(self, error: CallError) -> None:
        """Nothing more will come; ``error`` is what to say if there was no status. The exchange is closed."""
