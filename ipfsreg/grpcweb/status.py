"""The status that ends every answered call, and where it is written."""

from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import unquote_to_bytes

from .metadata import Metadata


class GrpcStatus(IntEnum):
    """gRPC's status codes, by their names in its documentation."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Status:
    """A status as received, with all header fields that came with it."""

    code: GrpcStatus
    message: str
    trailers: Metadata


def find_status(fields: Metadata) -> Status | None:
    """The status in a block of header fields, or None where it holds none.

    What is no number, or no number that gRPC knows, is UNKNOWN (gRPC's status code documentation).
    """
    written = fields.get("grpc-status")
    if written is None:
        return None
    try:
        code = GrpcStatus(int(written))
    except ValueError:
        code = GrpcStatus.UNKNOWN
    return Status(code, decode_message(fields.get("grpc-message") or ""), fields)


def decode_message(text: str) -> str:
    """Undo the percent-encoding of a ``grpc-message``.

    gRPC's protocol description asks for tolerance: an escape that is none stays as it is, and bytes that are
    no UTF-8 become U+FFFD.
    """
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode("utf-8", "replace")
