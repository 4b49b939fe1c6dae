"""The metadata that a bucket's document holds for each pushed path, and how large it makes the document.

Both the size of the document and the encoded map in the Root message are kept up to date entry by entry.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.wire import field as wire_field

PATH_METADATA = bucketsd_pb2.Root.PATH_METADATA_FIELD_NUMBER


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one path. `key` is base64, empty where the parent's holds."""

    updated_at: int
    roles: dict[str, int] = field(default_factory=dict)
    key: str = field(default="", repr=False)

    def document_size(self, path: str) -> int:
        """How many bytes the entry takes in the JSON document."""
        value: dict[str, object] = {"roles": self.roles, "updated_at": self.updated_at}
        if self.key:
            value["key"] = self.key
        text = json.dumps(value, separators=(",", ":"))
        return len(json.dumps(path, ensure_ascii=False).encode()) + len(text.encode()) + 2

    def message(self) -> bucketsd_pb2.Metadata:
        """The entry as a protobuf message."""
        return bucketsd_pb2.Metadata(roles=self.roles, updated_at=self.updated_at, key=self.key)  # type: ignore[arg-type]


def _directories_of(path: str) -> list[str]:
    """The directories that a path is in, but for the root."""
    return [path[:at] for at, letter in enumerate(path) if letter == "/"]


class PathMetadata:
    """The entries of a bucket."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._encoded: dict[str, bytes] = {}
        self._inside: Counter[str] = Counter()
        """How many entries there are below each directory."""
        self.document_size = 0
        """Bytes that the entries take in the JSON document."""

    def copy(self) -> "PathMetadata":
        """Another one, to be changed without this one noticing."""
        other = PathMetadata()
        other._entries = self._entries.copy()
        other._encoded = self._encoded.copy()
        other._inside = self._inside.copy()
        other.document_size = self.document_size
        return other

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def get(self, path: str) -> Entry | None:
        """The entry of exactly this path."""
        return self._entries.get(path)

    def nearest(self, path: str) -> Entry | None:
        """The entry of a path, or else of what it is in."""
        while path not in self._entries and path:
            path = path.rpartition("/")[0]
        return self._entries.get(path)

    def set(self, path: str, entry: Entry) -> None:
        """Add an entry, or replace one."""
        self.remove(path)
        self._entries[path] = entry
        self._inside.update(_directories_of(path))
        self.document_size += entry.document_size(path)
        value = entry.message().SerializeToString()
        self._encoded[path] = wire_field(PATH_METADATA, wire_field(1, path.encode()) + wire_field(2, value))

    def touch(self, path: str, now: int) -> None:
        """A path was written: its entry gets a new time and keeps its roles and key."""
        known = self._entries.get(path)
        self.set(path, Entry(now) if known is None else replace(known, updated_at=now))

    def remove(self, path: str) -> None:
        """Take an entry away, if it is there."""
        entry = self._entries.pop(path, None)
        if entry is not None:
            del self._encoded[path]
            self._inside.subtract(_directories_of(path))
            self.document_size -= entry.document_size(path)

    def remove_below(self, prefix: str) -> None:
        """Take away all entries whose path begins with a string, with the server's disregard of segments."""
        for path in [path for path in self._entries if path.startswith(prefix)]:
            self.remove(path)

    def remove_inside(self, directory: str) -> None:
        """Take away the entries of all that is in a directory."""
        if self._inside[directory]:
            self.remove_below(f"{directory}/")

    def encoded(self) -> bytes:
        """The map, as field of a Root message."""
        return b"".join(self._encoded.values())

    def role(self, path: str, identity: str) -> int:
        """The best role that an identity has at a path or above it."""
        best = 0
        while True:
            entry = self._entries.get(path)
            if entry is not None:
                best = max(best, entry.roles.get("*", 0), entry.roles.get(identity, 0))
            if not path:
                return best
            path = path.rpartition("/")[0]

    def roles(self, path: str) -> dict[str, int]:
        """All roles at a path, with those it inherits."""
        merged: dict[str, int] = {}
        while True:
            entry = self._entries.get(path)
            for identity, role in entry.roles.items() if entry is not None else ():
                merged[identity] = max(role, merged.get(identity, 0))
            if not path:
                return merged
            path = path.rpartition("/")[0]
