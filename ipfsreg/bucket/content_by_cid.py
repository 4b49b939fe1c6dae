"""What a storage on IPFS offers beside being a bucket: content of any CID, and names that point to CIDs."""

from typing import Protocol

from .interface import IBucket, IReader


class ContentByCid(Protocol):
    """The node behind a bucket, and the network behind the node.

    Every call is bounded by the backend's ``network_timeout`` and fails with a `BucketError`: `NotFound` where the
    node answered that there is no such thing, `Unavailable` where nobody had it in time or the node is away. CIDs
    are strings in any form; those that are answered are CIDv1 in base32 as far as the node makes them.
    """

    async def open_cid(self, cid: str, size: int | None) -> IReader:
        """Open a UnixFS file or a raw block; ``cid`` may be followed by a path in a directory: ``CID/manifests/1``.

        The first bytes may come from the network, as may all others while they are read. ``size`` is what the
        caller knows its length to be, and then `Corrupt` where it is another; None asks the node. The bytes are
        verified by the node against the CID, not against a digest. The reader reads ranges, as often as wanted.
        """

    async def root(self) -> str:
        """The CID of the directory with all of the bucket's files, as it is now, flushed to the node's disk."""

    def view(self, cid: str) -> IBucket:
        """A directory, such as another bucket's `root`, as a bucket to read: its files come as they are asked for.

        It needs no `start` and no `stop`, and answers every change with `Refused`.
        """

    async def publish(self, cid: str, key: str) -> str:
        """Let the IPNS name of a key of the node point to ``/ipfs/CID``; the key is made where there is none.

        Answers the name, as in ``/ipns/NAME``. A node without peers keeps the record to itself, which is no failure.
        """

    async def resolve(self, name: str) -> str:
        """The CID that ``/ipns/NAME``, ``NAME`` or a DNSLink domain points to now; a path below it stays: ``CID/a``."""
