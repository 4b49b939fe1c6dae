"""How our paths are written at the server: *plain* in a public bucket, *folded* in a private one.

The server refuses every path with `SEED` in it, be it a part of a repository's name or of a tag. So a ``~``, which no
name of a registry has, goes between its dot and its letters: ``v1.textileseed`` is ``v1.~textileseed`` there. What
looks like that already gets one more, so that each path has its own.

In a private bucket a server reads, decrypts, encrypts, writes and pins every directory that a file is in, one by one,
for each file. So a path is one name there, in one of 256 directories: ``a/b`` is ``c1/a,b;`` (docs/layout.md). What
directories we have is read from the list of paths that each answer about a bucket brings anyway. The end of a name is
marked since a removal takes away the entries of all paths that begin with the same letters.
"""

import hashlib
import re
from collections.abc import Sequence

from ipfsreg.bucket.interface import Entry

SEED = ".textileseed"
"""A file of the server's own in the top directory of each of its buckets."""

FORMAT_FILE = "layout-version"
"""A file at the top. An ipfsreg that only knows plain paths looks for its layout's version there, and refuses `FOLDED`.

In a bucket of plain paths it is the file of that name that the registry keeps, if any.
"""

FOLDED = b"2\n"
"""What it says where paths are folded."""

_OURS = re.compile(r"\.(?=~*textileseed)")
_THEIRS = re.compile(r"\.~(?=~*textileseed)")

_ESCAPES = {"~": "~0", ",": "~1", ";": "~2", "/": ","}
_ESCAPED = re.compile("[~,;/]")
_FOLDED_NAME = re.compile(r"[0-9a-f]{2}/((?:[^~,;/]|~[0-2]|,)+);")
_UNESCAPES = {escape: letter for letter, escape in _ESCAPES.items()}
_UNESCAPED = re.compile("~[0-2]|,")


def to_server(path: str) -> str:
    """A path of ours, as it is written at the server where it is plain."""
    return _OURS.sub(".~", path)


def from_server(name: str) -> str:
    """What `to_server` made of it, taken back."""
    return _THEIRS.sub(".", name)


def fold(path: str) -> str:
    """A plain path as it is written where paths are folded."""
    directory = hashlib.sha256(path.encode()).hexdigest()[:2]
    return f"{directory}/{_ESCAPED.sub(lambda match: _ESCAPES[match[0]], path)};"


def unfold(path: str) -> str | None:
    """The plain path of a folded one; None for what is none."""
    match = _FOLDED_NAME.fullmatch(path)
    if match is None:
        return None
    plain = _UNESCAPED.sub(lambda escape: _UNESCAPES[escape[0]], match[1])
    return plain if fold(plain) == path else None


class Directories:
    """A directory and all below it, as the paths of the files there show."""

    def __init__(self, top: str) -> None:
        self._top = top
        self._entries: dict[str, set[Entry]] = {}

    def add(self, path: str) -> None:
        """Add a file by its path; one that is not below the top is passed over."""
        if not path.startswith(f"{self._top}/"):
            return
        is_directory = False
        while path != self._top:
            directory, _, name = path.rpartition("/")
            entries = self._entries.setdefault(directory, set())
            entry = Entry(name, is_directory)
            if entry in entries:
                return
            entries.add(entry)
            path, is_directory = directory, True

    async def list(self, directory: str) -> Sequence[Entry]:
        """The entries of one of them sorted by name; none where it is not there."""
        return sorted(self._entries.get(directory, ()))
