"""Passwords that were right a moment ago, so that bcrypt is not paid for on each request."""

import hashlib
import secrets
from typing import Any

from cachetools import TTLCache

SECONDS = 300.0
MOST = 10_000
"""Passwords that are remembered; a client whose one was forgotten pays for bcrypt again."""


class Remembered:
    """Keeps a hash of client, name and password, keyed by a secret of this process: it tells nobody a password.

    The client is part of it, since what is remembered is let in without being throttled: another one who guesses the
    password must not learn from that that it is right.

    Beside it is the stamp of the account that it was right for. A password counts as long as the account has that
    stamp, so it is forgotten at the moment when the file with the account changes.
    """

    def __init__(self, clock: Any) -> None:
        self._key = secrets.token_bytes(32)
        self._stamps: TTLCache[bytes, str] = TTLCache(MOST, SECONDS, timer=clock.seconds)

    def digest(self, client: str, name: str, password: str) -> bytes:
        """What these are kept as."""
        framed = f"{len(client)},{len(name)},{client}{name}{password}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(framed, key=self._key, digest_size=32).digest()

    def is_right(self, digest: bytes, stamp: str) -> bool:
        """Whether this was right for the account that now has this stamp."""
        return self._stamps.get(digest) == stamp

    def remember(self, digest: bytes, stamp: str) -> None:
        """It was right."""
        self._stamps[digest] = stamp
