"""An index of digests and sizes, so that HEAD need not have the daemon open anything.

How long a blob is stands in a small file (its link), and to read any file the daemon makes a plaintext copy that stays
for ever. What such a file says follows from its path alone, so what was once written or read is known for good; only
whether it is there is asked again each time.
"""

import re
from pathlib import Path

from cachetools import LRUCache

from ipfsreg.flow.durable import remove_drafts, write_durably

KNOWN_MAX = 200_000
"""So many digests are remembered, and twice as many lines stay in the file."""

_LINK = re.compile(r"repositories/.+/_blobs/(?P<algorithm>sha256|sha512)/[0-9a-f]{2}/(?P<hex>[0-9a-f]+)")
_LINE = re.compile(r"(?P<digest>sha(?:256|512):[0-9a-f]{64,128}) (?P<content>[0-9]{1,20}\n)")
_CONTENT = re.compile(rb"[0-9]{1,20}\n")


def digest_of_link(path: str) -> str | None:
    """The digest of the blob that a path links to a repository, or None where it is no link."""
    match = _LINK.fullmatch(path)
    return None if match is None else f"{match['algorithm']}:{match['hex']}"


def is_length(content: bytes) -> bool:
    """Whether content is what a link says."""
    return _CONTENT.fullmatch(content) is not None


class SizeIndex:
    """What links say, by digest, in memory and in a file of this disk.

    The file is a help and no record: it may be lost, or lack its last lines.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: LRUCache[str, bytes] = LRUCache(KNOWN_MAX)

    def get(self, digest: str) -> bytes | None:
        """The content of the links to a blob, or None where it is not known."""
        return self._known.get(digest)

    def length(self, digest: str) -> int | None:
        """The length of a blob in bytes, or None where it is not known."""
        content = self._known.get(digest)
        return None if content is None else int(content)

    def learn(self, digest: str, content: bytes) -> str | None:
        """Take in what a link says. Answers a line for `save`, or None where it was known, or makes no sense."""
        if digest in self._known or not is_length(content):
            return None
        self._known[digest] = content
        return f"{digest} {content.decode('ascii')}"

    def load(self) -> None:
        """Read the file, and write it anew where it has become long. In a worker thread. Raises `OSError`."""
        remove_drafts(self._file)
        count = 0
        if self._file.exists():
            with self._file.open(encoding="ascii", errors="replace") as file:
                for line in file:
                    count += 1
                    match = _LINE.fullmatch(line)  # the last one may be torn
                    if match is not None:
                        self._known[match["digest"]] = match["content"].encode("ascii")
        if count > 2 * KNOWN_MAX:
            lines = (digest.encode("ascii") + b" " + content for digest, content in self._known.items())
            write_durably(self._file, b"".join(lines))

    def save(self, line: str) -> None:
        """Append a line to the file. In a worker thread. Raises `OSError`."""
        with self._file.open("ab") as file:
            file.write(line.encode("ascii"))
