"""Which wrapper a double has before its services, and the sizes that it refuses."""

from dataclasses import dataclass
from typing import Protocol

MEBIBYTE = 1024 * 1024


class Wrapper(Protocol):
    """What differs between the releases of improbable's Go wrapper (docs/protocols/grpc-web.md, "Websocket")."""

    @property
    def old_websocket(self) -> bool:
        """The wrapper v0.13.0: no size limit, TCP is dropped at the end, nothing is read after finish."""

    @property
    def compresses(self) -> bool:
        """Whether permessage-deflate is agreed to where a client offers it."""


@dataclass(frozen=True, slots=True)
class PlainWrapper:
    """A wrapper named by what it does."""

    old_websocket: bool
    compresses: bool = False


V0_13 = PlainWrapper(old_websocket=True)
V0_14 = PlainWrapper(old_websocket=False)


@dataclass(slots=True)
class MessageLimits:
    """Sizes in bytes; None takes a limit away."""

    message: int = 4 * MEBIBYTE
    """One gRPC message from a client (docs/protocols/grpc-web.md, "Requests and answers")."""

    websocket_message: int | None = 32768
    """One websocket message, only with the wrapper v0.14 (docs/protocols/grpc-web.md, "Websocket")."""
