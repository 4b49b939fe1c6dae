"""What a Textile server's refusals mean, as the bucket's own errors.

NOT_FOUND (5) is said of API keys and threads, a missing file is UNKNOWN (2). The codes and texts are those of
docs/protocols/textile.md.
"""

import re
import time
from collections.abc import Callable

from ipfsreg.bucket.errors import BucketError, Corrupt, Full, NotFound, Refused, Unavailable
from ipfsreg.bucket.refusals import Refusals, Row, shown, whole
from ipfsreg.grpcweb.errors import CallError, GrpcError
from ipfsreg.grpcweb.status import GrpcStatus

from .signing import SIGNATURE_SECONDS, clock_skew, describe_skew


class Gone(Unavailable):
    """The server does not know the thread or bucket (any more): to be looked for anew, then asked again."""


class ThreadGone(Gone):
    """The server does not know the thread, or was not told of one that is well-formed."""


class BucketGone(Gone):
    """The thread has no bucket of that key."""


class StaleRoot(Unavailable):
    """The bucket was changed since its root was read: to be read anew, then tried again."""


class BucketFull(Full):
    """The bucket does not take the file, and another bucket may."""


class TooManyPaths(BucketFull):
    """The bucket's metadata is larger than the server can handle."""


class DirectoryFull(BucketFull):
    """The directory is larger than a block of IPFS may be."""


class Unimplemented(Refused):
    """The server does not have the method: an older release, or a buckd asked for what only a hub has."""


class SignatureRefused(Refused):
    """The server does not take the signature: the secret, or a clock."""


class Undecryptable(Corrupt):
    """The server cannot decrypt it: it is damaged, or whoever asks has no role there. Only the owner knows which."""


class Unresolved(Unavailable):
    """The server does not find the path, for whatever reason: none of its texts says less.

    It hides from whoever has no role at a path what is there, and masks some of its own failures with the same words.
    """


class TokenRefused(Refused):
    """The server wants a token, or another one than it was sent: one from this server may help."""


class ArchiveRefused(Refused):
    """The server will not make or show a Filecoin archive."""


class NeverArchived(ArchiveRefused):
    """The bucket has no archive yet."""


class ArchiveNotNeeded(ArchiveRefused):
    """The bucket as it is was archived already, or is being archived now: no reason to worry."""


_UNKNOWN = GrpcStatus.UNKNOWN
_NOT_FOUND = GrpcStatus.NOT_FOUND
_DENIED = GrpcStatus.PERMISSION_DENIED
_UNAUTHENTICATED = GrpcStatus.UNAUTHENTICATED
_EXHAUSTED = GrpcStatus.RESOURCE_EXHAUSTED

_KEY = "[textile] key"
_SECRET = "[textile] secret"
_IDENTITY = "[textile] identity_file"
_TOKEN_NEEDED = f"{_KEY} is a user-group key, which needs an identity: set {_IDENTITY}"
_TOKEN_BAD = f"the token of {_IDENTITY} is not accepted"
_NO_ROLE = f"{_IDENTITY} does not own the bucket, and has no role that allows it: no role allows a new file"
_OTHER_CASE = "the account has a thread of that name in other letters, upper or lower case: set [textile] thread to it"
_TOO_MANY = "the bucket holds too many paths"
_NO_POWERGATE = "the server has no Powergate, so it cannot archive to Filecoin"
_BUCKD_LIMIT = "a buckd whose limits for archives were never set takes none of any size"

ROWS = (
    # What a server says when its IPFS node does not answer may quote the path, so this comes before all absences.
    Row(_UNKNOWN, r"context (deadline exceeded|canceled)|connection (refused|reset)|i/o timeout|: EOF$", Unavailable),
    # Credentials.
    Row(_NOT_FOUND, whole("API key not found or is invalid"), Refused, f"the server does not know {_KEY}"),
    Row(_NOT_FOUND, whole("Account not found"), Refused, f"the account of {_KEY} is gone"),
    Row(_NOT_FOUND, whole("User not found"), Refused, "the account is gone"),
    Row(_NOT_FOUND, whole("Org not found"), Refused, "the organisation is gone"),
    Row(_UNAUTHENTICATED, "API key signature required", Refused, f"{_KEY} needs its {_SECRET}"),
    Row(_UNAUTHENTICATED, "Bad API key signature", SignatureRefused),
    Row(_UNAUTHENTICATED, "Session or API key required", Refused, f"the server is a hub and wants {_KEY}"),
    Row(_UNAUTHENTICATED, "Token required", TokenRefused, _TOKEN_NEEDED),
    Row(_UNAUTHENTICATED, "Bad authorization string|unauthenticated with bearer", TokenRefused, _TOKEN_BAD),
    Row(_UNAUTHENTICATED, "Invalid session|Expired session", Refused, "the session is not valid any more"),
    Row(_UNAUTHENTICATED, "", Refused, f"the server does not accept {_KEY}, {_SECRET} or {_IDENTITY}"),
    Row(_DENIED, "Bad authorization", TokenRefused, _TOKEN_BAD),
    Row(_DENIED, "Bad API key", Refused, f"the thread was made with another {_KEY}"),
    Row(_DENIED, "User does not own thread", Refused, f"the thread belongs to another account than {_KEY}'s"),
    # A buckd's, for one of another server's key, or from before its database was made anew.
    Row(_UNKNOWN, "invalid thread token|thread token not found", TokenRefused, _TOKEN_BAD),
    Row(_UNKNOWN, whole("bad signature"), Refused, f"the server does not take the signature of {_IDENTITY}"),
    # Permission.
    Row(_DENIED, "Method is not accessible", Refused, f"the server is a hub and wants {_KEY}"),
    Row(_DENIED, "verifying bucket update", Refused, _NO_ROLE),
    Row(_DENIED, "", Refused, "the server does not allow it"),
    Row(_UNKNOWN, "permission denied", Refused, _NO_ROLE),
    Row(_UNKNOWN, "unmarshaling role public key", Refused, "a role is for a public key or for *"),
    Row(_UNKNOWN, r"paths containing \.textileseed are not allowed", Refused),
    Row(_UNKNOWN, "name may only contain alphanumeric", Refused, "[textile] thread is no name for a thread"),
    Row(_UNKNOWN, "E11000 duplicate key", Refused, _OTHER_CASE),
    # Threads and buckets. PushPaths wraps the texts of other services in its own, with code 2.
    Row(_NOT_FOUND, "(?i)^(thread|db) not found$", ThreadGone),
    Row(_UNKNOWN, "(?i)(^|desc = )(thread|db) not found$", ThreadGone),
    Row(_UNKNOWN, "mongo: no documents in result", ThreadGone),
    Row(_UNKNOWN, "(^|desc = )db required$", ThreadGone),
    Row(_UNKNOWN, "(^|desc = )instance not found$", BucketGone),
    Row(GrpcStatus.FAILED_PRECONDITION, "update is non-fast-forward", StaleRoot),
    # Quotas.
    Row(_UNKNOWN, "storage quota exhausted", Full, "the account's storage is used up"),
    Row(_UNKNOWN, "max bucket size exceeded", BucketFull, "the bucket is as large as the server allows"),
    Row(_UNKNOWN, r"block is over 1\s?MiB|block too (big|large)", DirectoryFull, "the directory has too many entries"),
    Row(_UNKNOWN, "number of threads per owner exceeds quota", Refused, "the account has as many threads as it may"),
    Row(_EXHAUSTED, "network egress exhausted", Refused, "the account's traffic is used up"),
    Row(_EXHAUSTED, "message larger than max", TooManyPaths, _TOO_MANY),
    Row(_UNKNOWN, "ResourceExhausted desc = .*message larger than max", TooManyPaths, _TOO_MANY),
    Row(_EXHAUSTED, "", Refused, "a quota is used up"),
    # docs/protocols/textile.md, "Archives".
    Row(_UNKNOWN, "archiving feature is disabled", ArchiveRefused, _NO_POWERGATE),
    Row(_UNKNOWN, r"should be less than: 0 GiB", ArchiveRefused, _BUCKD_LIMIT),
    Row(_UNKNOWN, "archive size is too big", ArchiveRefused, "the bucket is too large to be archived"),
    Row(_UNKNOWN, "archive size is too small", ArchiveRefused, "the bucket is too small to be archived"),
    Row(_UNKNOWN, "already archived successfully", ArchiveNotNeeded, "nothing has changed since the last archive"),
    Row(_UNKNOWN, "there is an in progress archive", ArchiveNotNeeded, "the last archive is still being made"),
    Row(_UNKNOWN, "wallet FIL balance is zero", ArchiveRefused, "the server's Filecoin wallet is empty"),
    Row(_UNKNOWN, "rep factor should be", ArchiveRefused, "the server does not make so many copies"),
    Row(_UNKNOWN, "the bucket was never archived", NeverArchived, "the bucket was never archived"),
    # The content. Only here is anything absent, and by code 2 only.
    Row(_UNKNOWN, "message corrupt or incorrect password", Undecryptable, "the server cannot decrypt it"),
    Row(_UNKNOWN, r'no link named "[^"]*" under \w', NotFound),
    Row(_UNKNOWN, r"could not resolve path: /ipfs/\w", NotFound),
    Row(_UNKNOWN, r"could not resolve path:", Unresolved),
    Row(_UNKNOWN, r"^node is a directory$", NotFound),
    Row(_UNKNOWN, r"^no link by that name$", NotFound, methods={"RemovePath"}),
    Row(GrpcStatus.UNIMPLEMENTED, r"service api\.usersd", Unimplemented, f"the server is a buckd, which has no {_KEY}"),
    Row(GrpcStatus.UNIMPLEMENTED, "", Unimplemented, "the server is too old, or not of this kind"),
)

REFUSALS = Refusals("the server", ROWS)


def translate(
    error: CallError,
    what: str,
    *,
    lifetime: float = SIGNATURE_SECONDS,
    clock: Callable[[], float] = time.time,
) -> BucketError:
    """The bucket's error for one of a call's.

    :param what: what was tried, for the message: a method's short name or more, ``RemovePath`` for a removal.
    :param lifetime: for how many seconds signatures are made.
    :param clock: this machine's wall clock.
    """
    meaning = REFUSALS.translate(error, what)
    if isinstance(error, GrpcError) and isinstance(meaning, SignatureRefused):
        skew = clock_skew(error.trailers.get("date"), clock())  # by POST there is such a header, by websocket not
        return SignatureRefused(f"{what}: {_why_refused(skew, lifetime)} ({shown(error.code, error.message)})")
    if isinstance(meaning, TooManyPaths) and what.startswith("Push") and _framing_lost(str(meaning)):
        return Unavailable(f"{what}: the connection lost bytes on the way ({error})")
    return meaning


def _framing_lost(text: str) -> bool:
    """Whether the length of a message that is too large is no length at all, but any four bytes of a stream.

    A bucket whose document is past the limit takes no more paths, so no true length is far above it. See
    docs/protocols/grpc-web.md, "Streams by POST".
    """
    numbers = re.search(r"\((\d{1,10}) vs\. (\d{1,10})\)", text)
    return numbers is not None and int(numbers[1]) > 2 * int(numbers[2])


def _why_refused(skew: float | None, lifetime: float) -> str:
    if skew is None:
        return (
            f"the server does not accept the signature: either {_SECRET} is not the one of {_KEY}, or this machine's "
            f"clock is more than {lifetime:.0f} s behind the server's"
        )
    # The header is rounded down to a second.
    if skew > lifetime - 1:
        return f"the server takes the signature for expired: {describe_skew(skew)}; set the clock"
    return f"the server does not accept the signature: {_SECRET} is not the one of {_KEY}"
