"""What a client accepts (RFC 9110, 12.5.1). The header is read in one pass: it may be hostile."""

from collections.abc import Sequence
from typing import NamedTuple

from ipfsreg.web.http.request import Request

_ITEMS_MAX = 64
"""So many media ranges are looked at; no client names more."""


class MediaRange(NamedTuple):
    """One media type of an Accept header, in lower case, with its parameters and its quality."""

    media_type: str
    parameters: dict[str, str]
    quality: float


def accepted(request: Request) -> Sequence[MediaRange]:
    """What a client accepts, the best first; of the same quality the more specific first. What it refuses is left out.

    A media type whose quality is not a number is passed over.
    """
    header = request.header("accept") or ""
    found = [each for item in header.split(",", _ITEMS_MAX)[:_ITEMS_MAX] if (each := _read(item)) is not None]
    found = [each for each in found if each.quality > 0]
    return sorted(found, key=lambda each: (-each.quality, each.media_type.count("*"), -len(each.parameters)))


def preferred(request: Request, offered: Sequence[str]) -> str:
    """The media type of those offered that a client likes best; the first where it says nothing of any."""
    for media_type, _, _ in accepted(request):
        for offer in offered:
            if media_type in {offer, f"{offer.partition('/')[0]}/*", "*/*"}:
                return offer
    return offered[0]


def _read(item: str) -> MediaRange | None:
    media_type, *parts = item.split(";", _ITEMS_MAX)
    parameters = {}
    for part in parts:
        name, separator, value = part.partition("=")
        if separator:
            parameters[name.strip().lower()] = value.strip().strip('"')
    try:
        quality = float(parameters.pop("q", "1"))
    except ValueError:
        return None
    return MediaRange(media_type.strip().lower(), parameters, quality) if 0 <= quality <= 1 else None
