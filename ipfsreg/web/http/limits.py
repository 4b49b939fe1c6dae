"""How much of anything a client may take for itself, and how long it is waited for."""

from dataclasses import dataclass

HEAD_MAX = 32 * 1024
"""How long a request line with its headers may be by default, in bytes: podman asks for up to a thousand ranges in one
header."""

HEADERS_MAX = 500
"""How many headers there may be by default: many more than any client and its proxies send."""

DRAIN_MAX = 256 * 1024
"""A refused body with no more than this still to come is read to its end, and the connection kept."""

LINGER_SECONDS = 5.0
"""For how long what a client still sends is thrown away, so that it sees the answer.

A connection that is closed with bytes unread is reset, and a reset can overtake the answer."""

LEAST_RATE = 1024
"""A body has to come at this rate, in bytes a second, but for pauses as long as the client's patience allows."""

REQUESTS_AT_ONCE = 32
"""How many requests of one client are answered before the others have their turn."""

FIRST_PIECE = 16 * 1024
"""How much is read at once, in bytes, before it is known what the client sends."""

COLLECTED_PIECE = 64 * 1024
"""How much is read at once of a body that goes into memory."""

BEHIND_TLS_PIECE = 128 * 1024
"""How much is read at once, at most, where it is then taken apart into records of TLS. A client may have put one byte
into each: these are decrypted within some hundredths of a second."""

_PIECES = ((4096, 1024 * 1024), (512, 64 * 1024), (0, 4096))


def next_piece(mean: float, *, is_collected: bool) -> int:
    """How much to read at once while a body comes, by the mean length of the pieces in which it came so far.

    Measured, large reads are a fifth less work for a layer. But a read full of chunks of one byte each would keep the
    reactor from everybody else for most of a second.
    """
    length = next(length for least, length in _PIECES if mean >= least)
    return min(length, COLLECTED_PIECE) if is_collected else length


@dataclass(frozen=True, slots=True)
class HeadBounds:
    """How long a request line with its headers may be, in bytes, and how many headers there may be.

    So much may also wait while a request is being answered: the client is held back when there is more.
    """

    size: int = HEAD_MAX
    count: int = HEADERS_MAX


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How long a client is waited for, in seconds, and how much it may say before its body.

    ``idle`` is for its next request, and for a body that goes into memory; ``stall`` for one that takes nothing of its
    answer; ``body`` for one that sends nothing of a body that goes to the disk, where None is ``stall``.
    """

    idle: float
    stall: float
    body: float | None = None
    head: HeadBounds = HeadBounds()
