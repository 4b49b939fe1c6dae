"""What this daemon pushed lately, which the server need not be asked for again file by file."""

from dataclasses import dataclass

from cachetools import LRUCache

from .proto import bucketsd_pb2

REMEMBERED = 512
"""How many files of a bucket are remembered: an image of a hundred layers is two hundred."""

SHORT = 1024
"""How many bytes of content are remembered: links, records and tags are shorter."""

ROUNDED = 1_000
"""Nanoseconds: a server saves times as floating-point numbers, so they differ by some hundred from its first answer."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the server said of a file, and its content where that is short. ``updated_at`` is in nanoseconds."""

    updated_at: int
    cid: str
    size: int
    content: bytes | None


class KnownFiles:
    """Files as they were pushed. By the time of its last change, which a `Root` has for each path, a file is that yet.

    Paths are as the server has them. In a bucket that has no such times nothing is known.
    """

    def __init__(self) -> None:
        self._files: LRUCache[str, KnownFile] = LRUCache(REMEMBERED)

    def __contains__(self, path: object) -> bool:
        return path in self._files

    def pushed(self, root: bucketsd_pb2.Root, path: str, cid: str, size: int, content: bytes | None) -> None:
        """A file was pushed; ``root`` is the server's answer."""
        if path in root.path_metadata:
            short = content if content is not None and len(content) <= SHORT else None
            self._files[path] = KnownFile(root.path_metadata[path].updated_at, cid, size, short)

    def get(self, root: bucketsd_pb2.Root, path: str) -> KnownFile | None:
        """What a file is, if it still is what was pushed; ``root`` is the bucket as it is now."""
        known = self._files.get(path)
        if known is None or path not in root.path_metadata:
            return None
        return known if abs(root.path_metadata[path].updated_at - known.updated_at) < ROUNDED else None
