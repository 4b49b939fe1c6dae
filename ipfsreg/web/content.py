"""HEAD, conditions and ranges, decided once for everything that is served (RFC 9110, sections 9.3.2, 13 and 14)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from .http.headers import Headers
from .http.request import Request
from .ranges import MultipartRanges, Part, content_range, read_ranges


@dataclass(frozen=True)
class Representation:
    """What there is to be sent. ``etag`` has no quotes; ``headers`` are sent also where the content is not.

    A handler that answers often with the same content keeps this object, so that its headers are encoded once.
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


def decide(request: Request, content: Representation) -> Sequence[Part] | None:
    """Prepare the answer to a GET or HEAD; which parts it has, or None where nothing is sent.

    :raises RangeInvalid: where the ranges asked for lie outside of the content.
    """
    if is_unmodified(request, content):
        return None
    ranges = _ranges(request, content) if content.has_ranges else None
    if ranges is None:
        request.prepare(200, content.whole)
        return None if request.method == b"HEAD" else (Part(b"", 0, content.size),)
    headers = dict(content.unsent)
    if len(ranges) == 1:
        ((first, end),) = ranges
        headers["Content-Type"] = content.media_type
        headers["Content-Length"] = end - first
        headers["Content-Range"] = content_range(first, end, content.size)
        request.prepare(206, headers)
        return (Part(b"", first, end),)
    several = MultipartRanges(ranges, content.media_type, content.size)
    headers["Content-Type"] = several.media_type
    headers["Content-Length"] = several.length
    request.prepare(206, headers)
    return several.parts


def is_unmodified(request: Request, content: Representation) -> bool:
    """Whether the client has this content already, as it says with If-None-Match; then that is the prepared answer.

    `decide` asks this too; alone it is for content whose size is dear to know.
    """
    given = request.header("if-none-match")
    if given is None:
        return False
    matching = {f'"{content.etag}"', content.etag, "*"}
    # It compares weakly, and none of our tags has a comma in it.
    if not any(tag.strip().removeprefix("W/") in matching for tag in given.split(",")):
        return False
    request.prepare(304, content.unsent)  # with no length: it would be that of what is not sent (RFC 9110, 8.6)
    return True


def _ranges(request: Request, content: Representation) -> Sequence[tuple[int, int]] | None:
    """The ranges asked for, or None for the whole content, also where If-Range names another one."""
    text = request.header("range")
    if text is None or request.method != b"GET":
        return None
    condition = request.header("if-range")
    # A weak tag or a date never matches here (RFC 9110, 13.1.5).
    if condition is not None and condition.strip() != f'"{content.etag}"':
        return None
    return read_ranges(text.strip(), content.size)
