"""How our paths are written at the server, which keeps some names for itself (docs/protocols/textile.md, "Pushing").

It refuses every path with `SEED` in it, be it a part of a repository's name or of a tag. So a ``~``, which no name of
a registry has, goes between its dot and its letters: ``v1.textileseed`` is ``v1.~textileseed`` there. What looks like
that already gets one more, so that each path has its own.
"""

import re

SEED = ".textileseed"
"""A file of the server's own in the top directory of each of its buckets."""

_OURS = re.compile(r"\.(?=~*textileseed)")
_THEIRS = re.compile(r"\.~(?=~*textileseed)")


def to_server(path: str) -> str:
    """A path of ours, as it is written at the server."""
    return _OURS.sub(".~", path)


def from_server(name: str) -> str:
    """What `to_server` made of it, taken back."""
    return _THEIRS.sub(".", name)
