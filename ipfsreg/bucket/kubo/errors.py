"""What a node's refusals mean, as the bucket's own errors.

Kubo answers nearly all of them with status 500 and code 0, so only the text tells them apart
(docs/protocols/kubo.md, "Errors"). A text that no row of the table knows is an outage, never an absence.
"""

import json
import re

from ipfsreg.bucket.errors import BucketError, Full, NotFound, Refused, Unavailable, Unreachable
from ipfsreg.bucket.refusals import TEXT_MAX

_LOOKED_AT = 16 * 1024
"""Characters of it in which its meaning is looked for."""

RETRY_AFTER = 5


class Missing(Unavailable):
    """The node lacks a block of what it has otherwise: garbage was collected beside us, or its disk lost it."""


class ContentLost(Missing):
    """The node lacks a block of what was just added: to be added again."""


class Exists(Refused):
    """There is something by that name already."""


class NotPinned(Refused):
    """The CID is not pinned."""


class AlreadyPinned(Refused):
    """The CID is pinned."""


class GaveUp(Unavailable):
    """The node did not find what it looked for in the time that it was given."""


class TooManyUnflushed(Unavailable):
    """The node wants something to be flushed before it changes its MFS any further."""


class CutOff(Unreachable):
    """An answer began, and ended before its end."""


_ROWS: tuple[tuple[str, type[BucketError]], ...] = (
    # Before all absences: a missing block's text may go on with one of those.
    (
        r"not found locally|merkledag: not found|could not find|block not found|could not retrieve some links"
        r"|failed to fetch all nodes",
        Missing,
    ),
    (r"reached limit of \d+ unflushed", TooManyUnflushed),
    (r"no space left|disk quota exceeded|maximum storage limit exceeded|not enough space|file too large", Full),
    (r"context deadline exceeded|context canceled|request canceled", GaveUp),
    (r"connection refused|i/o timeout", Unavailable),
    (r"was not recursively pinned|is not pinned|not pinned or pinned|not part of the pinset", NotPinned),
    (r"already recursively pinned|already pinned recursively", AlreadyPinned),
    (r"already has entry by that name|file already exists", Exists),
    (r"(was|is) not a directory|path is a directory", Refused),
    (r"read-only file system|permission denied", Refused),
    (
        r"no link named|no link by that name|file does not exist|does not exist|called on wrong kind|Not a directory",
        NotFound,
    ),
    (r"could not resolve name|no key by the given name|no IPNS record|routing: not found", NotFound),
)


def node_error(what: str, text: str) -> BucketError:
    """The bucket's error for what a node answered, or sent in its trailer. ``what`` is the command."""
    shown = f"{what}: the node answers {_shown(text)}"
    for pattern, meaning in _ROWS:
        if re.search(pattern, text[:_LOOKED_AT]):
            return meaning(shown, RETRY_AFTER) if issubclass(meaning, Unavailable) else meaning(shown)
    return Unavailable(shown, RETRY_AFTER)


def refusal(what: str, status: int, body: bytes) -> BucketError:
    """The bucket's error for an answer whose status is not 200."""
    text = _message(body)
    if status in {401, 403}:
        return Refused(f"{what}: the node does not allow it; look at [kubo] authorization ({status}, {_shown(text)})")
    if status in {404, 405}:
        return Refused(f"{what}: this is not the RPC of a node, or the node is too old ({status}, {_shown(text)})")
    if status in {502, 503, 504}:
        return Unreachable(f"{what}: {status}, {_shown(text)}", RETRY_AFTER)
    return node_error(what, text)


def _message(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(document, dict):
        return str(document)
    return str(document.get("Message") or document.get("message") or text)  # the second is a cluster's


def _shown(text: str) -> str:
    text = " ".join(text[:_LOOKED_AT].split())
    return repr(text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…")
