"""Conditional and range requests (RFC 9110, sections 13 and 14)."""

import re

from werkzeug.http import parse_etags, parse_if_range_header

from ipfsreg.registry.errors import RangeInvalid

from .replies import header
from .request import StreamingRequest

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,99})-([0-9]{0,99})", re.IGNORECASE)


def not_modified(request: StreamingRequest, tag: object) -> bool:
    """Whether the client has this content already and says so with If-None-Match. ``tag`` is the entity tag."""
    return parse_etags(header(request, "if-none-match")).contains_weak(str(tag))


def requested_range(request: StreamingRequest, tag: object, size: int) -> tuple[int, int] | None:
    """The range asked for as (first, past the last), or None for the whole content.

    A header that is malformed, has several ranges, or whose If-Range names other content is ignored, as the RFC
    allows. (werkzeug's parser does not tell ``-0`` from ``0-`` and finds a suffix longer than the content
    unsatisfiable.)

    :raises RangeInvalid: where the range lies outside of the content.
    """
    text = header(request, "range")
    if text is None or request.method != b"GET":
        return None
    match = _ONE_RANGE.fullmatch(text.strip())
    if match is None or match[1] == match[2] == "":
        return None
    condition = header(request, "if-range")
    # A weak tag never matches here (RFC 9110, 13.1.5), but the parser does not tell them apart.
    if condition is not None and (
        condition.lstrip().startswith("W/") or parse_if_range_header(condition).etag != str(tag)
    ):
        return None
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
