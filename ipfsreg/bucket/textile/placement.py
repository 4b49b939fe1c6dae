"""How the paths of one logical bucket are spread over many buckets of the server.

A server keeps an entry for every path in one document per bucket, which every answer carries and which must stay
below 4 MiB; so a bucket of theirs can hold only so much (`Capacity`). Ours grows in *levels*: level 0 is one of theirs,
level 1 has 4 of them, level 2 has 16, level 3 has 64. When one is full, writes go to the next level, to the one that
the path's directory hashes to; nothing is ever moved. To read a path is to ask at most one bucket of each level, the
highest first, so a file that was replaced meanwhile is found where it was written last.

Each lives in a thread of its own: a server reads all documents of a thread at once.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

FAN_OUT = 4
LEVELS = 4

_OF_A_LEVEL = re.compile(rf"-[1-{LEVELS - 1}]-\d{{1,2}}$")


@dataclass(frozen=True, slots=True)
class BucketName:
    """The name of a bucket of the server, and that of the thread that it is in."""

    thread: str
    bucket: str


@dataclass(frozen=True, slots=True)
class Form:
    """What kind of bucket of the server it is: encrypted or not, and how paths are written there (see `paths`)."""

    private: bool
    folded: bool


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One bucket of the server: a level, and its number there."""

    level: int
    number: int

    def thread_name(self, thread: str) -> str:
        """The name of its thread: the user's own at level 0."""
        return thread if self.level == 0 else f"{thread}-{self.level}-{self.number}"

    @property
    def is_last(self) -> bool:
        """Whether there is no level after its own."""
        return self.level == LEVELS - 1


def place_of(path: str, level: int) -> Place:
    """Where a path is at a level. Files of one directory are together, so that listing it asks one bucket."""
    directory, _, _ = path.rpartition("/")
    digest = hashlib.sha256(directory.encode()).digest()
    return Place(level, int.from_bytes(digest[:4], "big") % FAN_OUT**level)


def all_places() -> Iterator[Place]:
    """Every place that there can be."""
    for level in range(LEVELS):
        for number in range(FAN_OUT**level):
            yield Place(level, number)


def may_be_of_a_level(thread: str) -> bool:
    """Whether a thread's name has the form of those of the higher levels, so that two registries could meet there."""
    return _OF_A_LEVEL.search(thread) is not None
