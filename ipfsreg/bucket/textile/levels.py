"""How the paths of one logical bucket are spread over many buckets of the server.

A server keeps an entry for every path in one document per bucket, which every answer carries and which must stay
below 4 MiB; so a bucket of theirs can hold only so much. Ours grows in *levels*: level 0 is one of theirs, level 1
has 4 of them, level 2 has 16, level 3 has 64. When one is full, writes go to the next level, to the one that the
path's directory hashes to; nothing is ever moved. To read a path is to ask at most one bucket of each level, the
highest first, so a file that was replaced meanwhile is found where it was written last.

Each lives in a thread of its own: a server reads all documents of a thread at once.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

FAN_OUT = 4
LEVELS = 4

FULL = 5_000
"""How many paths a bucket of theirs takes before writes go to the next level: half a MiB in every answer."""

LAST_FULL = 25_000
"""The same for the highest level, after which there is none: below the some 33,000 that a document can hold."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One bucket of the server: a level, and its number there."""

    level: int
    number: int

    def thread_name(self, thread: str) -> str:
        """The name of its thread: the user's own at level 0."""
        return thread if self.level == 0 else f"{thread}-{self.level}-{self.number}"

    @property
    def full_at(self) -> int:
        """How many paths it takes."""
        return LAST_FULL if self.level == LEVELS - 1 else FULL


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
