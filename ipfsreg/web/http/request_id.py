"""What a request is called, in its answer and in the log."""

import re
import secrets
from contextvars import ContextVar
from itertools import count

HEADER = "X-Request-ID"

current: ContextVar[str] = ContextVar("request")
"""The request that is being handled, for whatever is logged meanwhile."""

_OF_CLIENT = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_daemon = secrets.token_hex(4)
_numbers = count(1)


def request_id(sent: bytes | None, otherwise: str | None = None) -> str:
    """A request's name: what the client has ``sent``, where that is a word of at most 64 letters, digits, ``.``, ``_``
    and ``-``, and else another one that was made for it, or a new one.
    """
    if sent is not None and _OF_CLIENT.fullmatch(sent):
        return sent.decode("ascii")
    return otherwise or f"{_daemon}-{next(_numbers):x}"
