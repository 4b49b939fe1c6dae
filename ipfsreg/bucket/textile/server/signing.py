"""What is sent with each call to a Textile server: who calls, with which right, and about which thread.

Names and rules: docs/protocols/textile.md, "Credentials". Everything made here is secret and belongs into no log.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ipfsreg.bucket.errors import SetupError

from .encoding import decode_multibase, to_base32

API_KEY = "x-textile-api-key"
SIGNATURE = "x-textile-api-sig"
EXPIRY = "x-textile-api-sig-msg"
THREAD = "x-textile-thread"
THREAD_NAME = "x-textile-thread-name"
AUTHORIZATION = "authorization"

SIGNATURE_SECONDS = 1800.0
"""How long a signature counts: as long as the official clients'.

The servers compare the expiry with their own clock and allow for no difference, but have no maximum either: so
this is also by how much this machine's clock may be behind.
"""

_VISIBLE = re.compile(r"[\x21-\x7e]+")


def sign(secret: bytes, expiry: str) -> str:
    """The signature for an expiry: HMAC-SHA256 over the very text that is sent, as multibase base32."""
    return to_base32(hmac.digest(secret, expiry.encode("ascii"), hashlib.sha256))


def rfc3339(seconds: float) -> str:
    """A time given in seconds since 1970 as the official clients write it: in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class CallMetadata:
    """Makes the metadata of one call after the other. An instance can be called: ``metadata(thread, thread_name)``.

    * an account key of a hub: ``key``, and ``secret`` where the key was made to require a signature (a signature
      that is not required does no harm);
    * a user-group key of a hub: the same, and the ``token`` of an identity;
    * a buckd: nothing, or a ``token`` where buckets are to have owners.

    :param key: an API key, or None or empty for none; then the secret is not used either.
    :param secret: multibase, as the hub hands it out.
    :param token: may be set later, and replaced: `token`.
    :param lifetime: of each signature, in seconds.
    :param clock: this machine's wall clock, in seconds since 1970.
    :raises SetupError: naming the option, for what no server could take; what was given is not quoted.
    """

    def __init__(
        self,
        key: str | None = None,
        secret: str | None = None,
        token: str | None = None,
        *,
        lifetime: float = SIGNATURE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._key = _checked(key, "[textile] key")
        self._secret = _decoded(_checked(secret, "[textile] secret")) if self._key else b""
        self._token = ""
        self.set_token(token)

    @property
    def has_key(self) -> bool:
        """Whether this is for a hub."""
        return bool(self._key)

    @property
    def has_token(self) -> bool:
        """Whether calls name an identity."""
        return bool(self._token)

    def set_token(self, token: str | None) -> None:
        """Use another token from now on, or none.

        :raises SetupError: for what cannot be one.
        """
        self._token = _checked(token, "the token")

    def __call__(self, thread: str = "", thread_name: str = "") -> dict[str, str]:
        """What to send with a call that begins now.

        :param thread: the id of the thread that it is about, or empty.
        :param thread_name: the name of the thread that it makes, or empty.
        """
        fields: dict[str, str] = {}
        if self._key:
            fields[API_KEY] = self._key
        if self._secret:
            expiry = rfc3339(self._clock() + self.lifetime)
            fields[EXPIRY] = expiry
            fields[SIGNATURE] = sign(self._secret, expiry)
        if thread:
            fields[THREAD] = thread
        if thread_name:
            fields[THREAD_NAME] = thread_name
        if self._token:
            fields[AUTHORIZATION] = f"bearer {self._token}"
        return fields

    def __repr__(self) -> str:
        values = (("key", self._key), ("secret", self._secret), ("token", self._token))
        has = [name for name, value in values if value]
        return f"<CallMetadata with {', '.join(has) or 'nothing'}>"


def clock_skew(date: str | None, now: float) -> float | None:
    """By how many seconds a server's clock is ahead of this machine's (negative: behind), by a ``Date`` header.

    None where there is no such header or it cannot be read. The header has whole seconds and is as old as the way
    from the server is long, so the result is that much too low at most.
    """
    if date is None:
        return None
    try:
        told = parsedate_to_datetime(date)
        return told.replace(tzinfo=told.tzinfo or UTC).timestamp() - now
    except (ValueError, OverflowError):
        return None


def describe_skew(skew: float) -> str:
    """The difference of the clocks in words."""
    way = "behind" if skew > 0 else "ahead of"
    return f"this machine's clock is {abs(skew):.0f} s {way} the server's"


def _checked(value: str | None, name: str) -> str:
    value = (value or "").strip()
    if value and not _VISIBLE.fullmatch(value):
        raise SetupError(f"{name} has characters that cannot be sent; copy it again")
    return value


def _decoded(secret: str) -> bytes:
    if not secret:
        return b""
    try:
        return decode_multibase(secret)
    except ValueError:
        raise SetupError("[textile] secret is not what a hub hands out as one: not multibase; copy it again") from None
