"""What a Space Daemon's refusals mean, as the bucket's own errors.

The texts are those of docs/protocols/space.md, "Access" to "The hub".
"""

import re

from ipfsreg.bucket.errors import BucketError, Corrupt, Full, NotFound, Refused, Unavailable
from ipfsreg.bucket.refusals import MATCHED_MAX, Refusals, Row, shown
from ipfsreg.grpcweb.errors import CallError, GrpcError
from ipfsreg.grpcweb.status import GrpcStatus

ABOUT_A_PATH = {"OpenFile", "ListDirectory", "RemoveDirOrFile"}
"""The methods that may say of a path that there is nothing at it."""


class NotReady(Unavailable):
    """The daemon answers, and waits for something itself: its start, its keys, its hub."""


class SpaceBucketGone(Unavailable):
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


INIT = "run `ipfsreg space init`"

NO_SERVICES = (
    "it waits for the services of its makers up to a minute after its start, and for ever where they do not answer"
)

_UNKNOWN = GrpcStatus.UNKNOWN

DAEMON_ROWS = (
    Row(
        GrpcStatus.UNAUTHENTICATED,
        "",
        WrongToken,
        "the Space Daemon does not accept the token ([space] token_file, token or DAEMON_TOKEN)",
    ),
    Row(GrpcStatus.UNIMPLEMENTED, "", Refused, "the server is too old, or no Space Daemon"),
    Row(_UNKNOWN, "not initialized in expected time", NotReady, f"the Space Daemon is not ready: {NO_SERVICES}"),
    Row(
        _UNKNOWN,
        "not initialized after 3 attempts|no textile hub set",
        NoHub,
        "the Space Daemon does not reach its hub",
    ),
    Row(_UNKNOWN, "No key pair found in the local db", NoKeyPair, f"the Space Daemon has no key pair: {INIT}"),
    # With some keyrings it has only this to say of a pair that is not there; of other things it may mean anything.
    Row(_UNKNOWN, "^Key not found$", NoKeyPair, f"the Space Daemon has no key pair: {INIT}", methods={"GetPublicKey"}),
    Row(_UNKNOWN, "(?i)key pair already exists", KeyPairExists, "the Space Daemon has a key pair already"),
    Row(_UNKNOWN, "master app token already exists", TokenExists, "the Space Daemon has told its token already"),
    Row(_UNKNOWN, "Not implemented", NotImplementedYet, "the Space Daemon cannot do that"),
    Row(
        _UNKNOWN,
        "^path not found at ",
        StagingUnseen,
        "the Space Daemon cannot see the staging directory: it has to run on this machine, as a user who may read "
        "[space] path, and without a view of the disk of its own",
    ),
    Row(_UNKNOWN, "^Bucket not found$", SpaceBucketGone, "the Space Daemon does not know the bucket"),
    Row(_UNKNOWN, "no space left on device|quota exceeded", Full, "the Space Daemon has no room"),
    # What the daemon's own IPFS node says when it does not answer may quote a path: before all absences.
    Row(_UNKNOWN, r"context (deadline exceeded|canceled)|connection (refused|reset)|i/o timeout|: EOF$", Unavailable),
    Row(_UNKNOWN, "permission denied", Refused, "the Space Daemon's user may not read or write what it has to"),
    Row(_UNKNOWN, "message corrupt or incorrect keys", Corrupt, "the Space Daemon cannot decrypt it"),
    Row(_UNKNOWN, r'no link named "[^"]*" under \w', NotFound, methods=ABOUT_A_PATH),
)

DAEMON_REFUSALS = Refusals("the Space Daemon", DAEMON_ROWS)

_BUCKET_GONE = re.compile(r"(?:^|desc = )bucket (?P<slug>.+) not found$")


def daemon_error(error: CallError, method: str) -> BucketError:
    """The bucket's error for one of a call's."""
    if isinstance(error, GrpcError) and error.code is _UNKNOWN:
        return meaning_of(error.message, method)
    return DAEMON_REFUSALS.translate(error, method)


def meaning_of(text: str, method: str) -> BucketError:
    """The bucket's error for a text of the daemon's: of a call's end, or of one item of a call."""
    gone = _BUCKET_GONE.search(text[:MATCHED_MAX])
    if gone is not None:
        told = f"{method}: the Space Daemon does not know the bucket ({shown(_UNKNOWN, text)})"
        return SpaceBucketGone(told, gone["slug"])
    return DAEMON_REFUSALS.meaning(_UNKNOWN, text, method)
