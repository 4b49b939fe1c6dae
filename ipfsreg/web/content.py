"""HEAD, conditions and ranges, decided once for everything that is served (RFC 9110, sections 9.3.2, 13 and 14)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ipfsreg.registry.errors import RangeInvalid

from .http.headers import Headers
from .http.request import Request

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,99})-([0-9]{0,99})", re.IGNORECASE)


@dataclass(frozen=True)
class Content:
    """What there is to be sent. ``etag`` has no quotes; ``headers`` are sent also where the content is not.

    Whoever answers with the same content often keeps it: then its headers are encoded once.
    """

    etag: str
    size: int
    media_type: str
    headers: Mapping[str, object]
    is_weak: bool = False
    """Whether the same tag may stand for other bytes that mean the same."""
    has_ranges: bool = True

    @cached_property
    def unsent(self) -> dict[str, object]:
        """The headers of an answer without the content."""
        etag = f'W/"{self.etag}"' if self.is_weak else f'"{self.etag}"'
        ranges = {"Accept-Ranges": "bytes"} if self.has_ranges else {}
        return {**self.headers, "ETag": etag, **ranges}

    @cached_property
    def whole(self) -> Headers:
        """The headers of an answer with all of it."""
        return Headers({**self.unsent, "Content-Type": self.media_type, "Content-Length": self.size})


def decide(request: Request, content: Content) -> tuple[int, int] | None:
    """Prepare the answer to a GET or HEAD; which bytes it has, as (first, past the last), or None where it has none.

    :raises RangeInvalid: where the range asked for lies outside of the content.
    """
    if is_unmodified(request, content):
        return None
    part = _range(request, content) if content.has_ranges else None
    if part is None:
        request.prepare(200, content.whole)
        return None if request.method == b"HEAD" else (0, content.size)
    first, end = part
    headers = {
        **content.unsent,
        "Content-Type": content.media_type,
        "Content-Length": end - first,
        "Content-Range": f"bytes {first}-{end - 1}/{content.size}",
    }
    request.prepare(206, headers)
    return part


def is_unmodified(request: Request, content: Content) -> bool:
    """Whether the client has this content already, as it says with If-None-Match; then that is the prepared answer.

    `decide` asks this too; alone it is for content whose size is dear to know.
    """
    given = request.getHeader("if-none-match")
    if given is None:
        return False
    matching = {f'"{content.etag}"', content.etag, "*"}
    # It compares weakly, and none of our tags has a comma in it.
    if not any(tag.strip().removeprefix("W/") in matching for tag in given.split(",")):
        return False
    request.prepare(304, content.unsent)  # with no length: it would be that of what is not sent (RFC 9110, 8.6)
    return True


def _range(request: Request, content: Content) -> tuple[int, int] | None:
    """The range asked for as (first, past the last), or None for the whole content.

    A header that is malformed, has several ranges, or whose If-Range names other content is ignored, as the RFC
    allows. (werkzeug's parser does not tell ``-0`` from ``0-`` and finds a suffix longer than the content
    unsatisfiable.)
    """
    text = request.getHeader("range")
    if text is None or request.method != b"GET":
        return None
    match = _ONE_RANGE.fullmatch(text.strip())
    if match is None or match[1] == match[2] == "":
        return None
    condition = request.getHeader("if-range")
    # A weak tag or a date never matches here (RFC 9110, 13.1.5).
    if condition is not None and condition.strip() != f'"{content.etag}"':
        return None
    size = content.size
    if match[1] == "":
        first, end = max(size - int(match[2]), 0), size
    else:
        first, end = int(match[1]), min(int(match[2] or size) + 1, size)
        if match[2] and int(match[2]) < first:
            # RFC 9110 calls it invalid and lets a server ignore it; the conformance program wants it refused.
            raise RangeInvalid("the range ends before it begins", {"size": size})
    if first >= end:
        raise RangeInvalid(f"the content has {size} bytes", {"size": size})
    return first, end
