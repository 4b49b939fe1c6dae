"""What a Space Daemon's refusals mean, as the bucket's own errors.

Nearly every refusal has the code UNKNOWN (2), that of a missing file as well as that of a daemon which is broken:
only the texts tell. What no row knows is an outage, never an absence. The texts are those of
docs/protocols/space.md, "Access" to "The hub".
"""

import re
from dataclasses import dataclass

from ipfsreg.bucket.errors import BucketError, Corrupt, Full, NotFound, Refused, Unavailable
from ipfsreg.grpcweb.errors import CallError, GrpcError, one_line
from ipfsreg.grpcweb.status import GrpcStatus

TEXT_MAX = 300
"""Characters of a daemon's text that go into a message of ours."""


class NotReady(Unavailable):
    """The daemon answers, and waits for something itself: its start, its keys, its hub."""


class BucketGone(Unavailable):
    """The daemon does not know a bucket. ``bucket`` is its name."""

    def __init__(self, message: str, bucket: str = "") -> None:
        super().__init__(message)
        self.bucket = bucket


class NoHub(Refused):
    """The daemon has no connection to its hub."""


class NoKeyPair(Refused):
    """The daemon has no key pair yet."""


class KeyPairExists(Refused):
    """The daemon has a key pair already, and will not make another."""


class WrongToken(Refused):
    """The daemon does not accept the token."""


class TokenExists(Refused):
    """The daemon has told its master token already, and never tells it again."""


class NotImplementedYet(Refused):
    """The daemon has the method, and it does nothing."""


class StagingUnseen(Refused):
    """The daemon cannot see a file that it was to add."""


@dataclass(frozen=True, slots=True)
class Row:
    """One refusal that is known: a pattern that its text has somewhere, and what that means.

    ``explanation`` is what the user should know; the daemon's own text follows it in brackets.
    """

    pattern: str
    meaning: type[BucketError]
    explanation: str = ""


INIT = "run `ipfsreg space init`"

NO_SERVICES = (
    "it waits for the services of its makers up to a minute after its start, and for ever where they do not answer"
)

ROWS = (
    Row("not initialized in expected time", NotReady, f"the Space Daemon is not ready: {NO_SERVICES}"),
    Row("not initialized after 3 attempts|no textile hub set", NoHub, "the Space Daemon does not reach its hub"),
    Row("No key pair found in the local db", NoKeyPair, f"the Space Daemon has no key pair: {INIT}"),
    Row("(?i)key pair already exists", KeyPairExists, "the Space Daemon has a key pair already"),
    Row("master app token already exists", TokenExists, "the Space Daemon has told its token already"),
    Row("Not implemented", NotImplementedYet, "the Space Daemon cannot do that"),
    Row(
        "^path not found at ",
        StagingUnseen,
        "the Space Daemon cannot see the staging directory: it has to run on this machine, as a user who may read "
        "[space] path, and without a view of the disk of its own",
    ),
    Row("^Bucket not found$", BucketGone, "the Space Daemon does not know the bucket"),
    Row("no space left on device|quota exceeded", Full, "the Space Daemon has no room"),
    # What the daemon's own IPFS node says when it does not answer may quote a path: before all absences.
    Row(r"context (deadline exceeded|canceled)|connection (refused|reset)|i/o timeout|: EOF$", Unavailable),
    Row("permission denied", Refused, "the Space Daemon's user may not read or write what it has to"),
    Row("message corrupt or incorrect keys", Corrupt, "the Space Daemon cannot decrypt it"),
)
"""Of code UNKNOWN. The first row that matches counts."""

_BUCKET_GONE = re.compile(r"(?:^|desc = )bucket (?P<slug>.+) not found$")
_ABSENT = re.compile(r'no link named "[^"]*" under \w')


def translate(error: CallError, method: str, *, absent: bool = False) -> BucketError:
    """The bucket's error for one of a call's.

    :param absent: whether the call is about a path, so that the daemon may say that there is nothing at it.
    """
    if not isinstance(error, GrpcError):
        return Unavailable(f"{method}: {error}")
    if error.code is GrpcStatus.UNAUTHENTICATED:
        return WrongToken(
            f"{method}: the Space Daemon does not accept the token ([space] token_file, token or DAEMON_TOKEN) "
            f"({_shown(error.message)})"
        )
    if error.code is GrpcStatus.UNIMPLEMENTED:
        return Refused(f"{method}: the server is too old, or no Space Daemon ({_shown(error.message)})")
    if error.code is not GrpcStatus.UNKNOWN:
        return Unavailable(f"{method}: the Space Daemon answers {_shown(error.message)}, {error.code.name}")
    return meaning_of(error.message, method, absent=absent)


def meaning_of(text: str, what: str, *, absent: bool = False) -> BucketError:
    """The bucket's error for a text of the daemon's: of a call's end, or (never ``absent``) of one item of a call."""
    gone = _BUCKET_GONE.search(text)
    if gone is not None:
        return BucketGone(f"{what}: the Space Daemon does not know the bucket ({_shown(text)})", gone["slug"])
    for row in ROWS:
        if re.search(row.pattern, text) is not None:
            if row.explanation:
                return row.meaning(f"{what}: {row.explanation} ({_shown(text)})")
            return row.meaning(f"{what}: the Space Daemon answers {_shown(text)}")
    if absent and _ABSENT.search(text) is not None:
        return NotFound(f"{what}: {_shown(text)}")
    return Unavailable(f"{what}: the Space Daemon answers {_shown(text)}")


def _shown(text: str) -> str:
    shown = one_line(text)
    return repr(shown if len(shown) <= TEXT_MAX else shown[:TEXT_MAX] + "…")
