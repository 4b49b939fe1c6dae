"""Which parts of a content a request asks for (RFC 9110, 14), and how several of them are one answer (14.6)."""

import re
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from ipfsreg.registry.errors import RangeInvalid

RANGES_MAX = 1024
"""So many ranges are sent at most: podman asks for no more at once."""

_NEW_LINE = "\r\n"
_RANGE = re.compile(r"([0-9]{0,99})-([0-9]{0,99})")


class Part(NamedTuple):
    """A part of an answer: ``head`` as it is, and then the content from ``first`` to before ``end``."""

    head: bytes
    first: int
    end: int


def read_ranges(header: str, size: int) -> list[tuple[int, int]] | None:
    """The ranges that a Range header asks for as (first, past the last), in the client's order.

    None for a header that is to be ignored, as the RFC allows: one that is malformed, of another unit, or with more
    than `RANGES_MAX` ranges. Ranges that overlap become one, so that no answer is longer than the content and its
    parts' heads. Those that merely touch each other do not: podman counts the parts.

    :raises RangeInvalid: where none of them lies in the content.
    """
    unit, _, text = header.partition("=")
    if unit.strip().lower() != "bytes" or unit != unit.rstrip():
        return None
    texts = [each for part in text.split(",") if (each := part.strip(" \t"))]
    matches = [_RANGE.fullmatch(each) for each in texts]
    if not matches:
        return None
    ranges = []
    for match in matches:
        if match is None or match[1] == match[2] == "":
            return None
        if match[1] == "":
            first, end = max(size - int(match[2]), 0), size
        else:
            first, end = int(match[1]), min(int(match[2] or size) + 1, size)
        # One that ends before it begins is invalid, and might be ignored; the conformance program wants it refused.
        if first < end:
            ranges.append((first, end))
    if not ranges:
        raise RangeInvalid(f"the content has {size} bytes, and none of these", {"size": size})
    ranges = _without_overlaps(ranges)
    return ranges if len(ranges) <= RANGES_MAX else None


def _without_overlaps(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if len(ranges) == 1:
        return ranges
    joined: list[tuple[int, int, int]] = []  # each with its place in the answer
    for first, end, place in sorted((first, end, place) for place, (first, end) in enumerate(ranges)):
        if joined and first < joined[-1][1]:
            before = joined[-1]
            joined[-1] = (before[0], max(before[1], end), min(before[2], place))
        else:
            joined.append((first, end, place))
    return [(first, end) for first, end, _ in sorted(joined, key=lambda each: each[2])]


class MultipartRanges:
    """Several ranges of a content as ``multipart/byteranges``: the media type, the length, and the parts."""

    def __init__(self, ranges: Sequence[tuple[int, int]], media_type: str, size: int) -> None:
        boundary = secrets.token_hex(16)  # which the content cannot have been made to have in it
        self.media_type = f"multipart/byteranges; boundary={boundary}"
        parts: list[Part] = []
        for first, end in ranges:
            headers = f"Content-Type: {media_type}\r\nContent-Range: {content_range(first, end, size)}\r\n\r\n"
            delimiter = f"{_NEW_LINE if parts else ''}--{boundary}\r\n"
            parts.append(Part(f"{delimiter}{headers}".encode(), first, end))
        parts.append(Part(f"\r\n--{boundary}--\r\n".encode(), 0, 0))
        self.parts = tuple(parts)
        self.length = sum(len(each.head) + each.end - each.first for each in parts)


def content_range(first: int, end: int, size: int) -> str:
    """The value of a Content-Range header."""
    return f"bytes {first}-{end - 1}/{size}"
