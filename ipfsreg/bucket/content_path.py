"""Which paths say what their content is."""

import re
from dataclasses import dataclass

_HEX_LENGTHS = {"sha256": 64, "sha512": 128}

# Only below `blobs`: paths of the same form elsewhere hold other things (links to content, damaged content).
_SPREAD = re.compile(r"blobs/(?P<algorithm>sha256|sha512)/(?P<first>[0-9a-f]{2})/(?P<hex>(?P=first)[0-9a-f]+)")
_FLAT = re.compile(r"blobs/(?P<algorithm>sha256|sha512):(?P<hex>[0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class ContentPath:
    """A path whose file has a digest that is known beforehand."""

    path: str
    algorithm: str
    hex: str


def content_at(path: str) -> ContentPath | None:
    """Read ``blobs/<algorithm>/<2 hex>/<hex>`` or, of the original program, ``blobs/<algorithm>:<hex>``."""
    match = _SPREAD.fullmatch(path) or _FLAT.fullmatch(path)
    if match is None or len(match["hex"]) != _HEX_LENGTHS[match["algorithm"]]:
        return None
    return ContentPath(path, match["algorithm"], match["hex"])
