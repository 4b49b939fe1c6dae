"""What hangs on one key pair: the records of buckets in its meta thread."""

from dataclasses import dataclass, field

from tests.bucket.textile.double.identity import new_thread_id, to_base32
from tests.bucket.textile.double.tree import File

from .cipher import BucketCipher
from .keys import KeyPair

DEFAULT_BUCKET = "personal"
"""What no bucket's name means, and what the daemon makes by itself."""


@dataclass(slots=True)
class Record:
    """A bucket as the meta thread has it. Whether the bucket is there, only the buckd knows."""

    slug: str
    thread: str = field(default_factory=lambda: to_base32(new_thread_id()))
    cipher: BucketCipher = field(default_factory=BucketCipher, repr=False)
    backup: bool = False
    mirror: dict[str, File] = field(default_factory=dict)
    """What the hub has of it, by plain path. Nothing is ever taken away by RemoveDirOrFile.

    See docs/protocols/space.md, "Listing and removing".
    """


class Account:
    """The records of one key pair."""

    def __init__(self, pair: KeyPair) -> None:
        self.pair = pair
        self.public_key = pair.public_key
        self.records: dict[str, Record] = {}

    def record(self, slug: str) -> Record:
        """The record of a slug. One is made, with a thread, where there is none: for a bucket that is not, junk."""
        return self.records.setdefault(slug, Record(slug))
