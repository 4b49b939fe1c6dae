"""What a storage can do beside being a bucket: most of it is for those on IPFS."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .interface import Entry, IBucket, IReader
from .spool_format import PLAIN_SPOOL, SpoolFormat


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


class TakesAhead(Protocol):
    """A storage that can take content before it is whole, and before it is known whether and where it is wanted.

    Nothing may refer to such content before `IBucket.put_file` of its source: until then it is not verified, and may
    never be. Such a backend does not keep the source itself, so that need not be fsynced. Nothing here fails: what a
    backend could not begin early it does all of then.
    """

    def grown(self, source: Path, size: int) -> None:
        """The first ``size`` bytes of a file are written and will stay as they are."""

    def forget(self, source: Path) -> None:
        """A file will not be stored after all, or its bytes change. It may be one that was never told of."""


class TellsLeaves(Protocol):
    """A storage that makes the DAG of what it stores itself, so that nobody else has to compute it."""

    def tells(self) -> bool:
        """Whether the DAGs of what is stored now have the form of `PROFILE`: then `leaves` knows them."""

    async def leaves(self, path: str, size: int) -> bytes | None:
        """The sha256 of each leaf of a stored file of ``size`` bytes, one after the other.

        None where its DAG has another form. Fails with a `BucketError`.
        """


class RemotePins(Protocol):
    """Copies of the bucket at remote pinning services."""

    async def keep_copy(self, service: str) -> None:
        """See to it that a service has the bucket as it is now; called again and again. `BucketError`."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Each of them is None where the storage cannot do it."""

    content_by_cid: ContentByCid | None = None
    ahead: TakesAhead | None = None
    teller: TellsLeaves | None = None
    remote_pins: RemotePins | None = None
    list_top: Callable[[], Awaitable[Sequence[Entry]]] | None = None
    """Lists what is at the top of the bucket and not the storage's own, where nobody else writes there."""
    verify_reads: bool = False
    """Whether content is to be compared with its digest each time it is read."""
    late_dags: bool = False
    """Whether content is read faster than it is hashed: then the DAG of what is pushed is computed later."""
    spool: SpoolFormat = PLAIN_SPOOL
    """The form of files that `IBucket.put_file` takes as they are."""
    cids: bool = True
    """Whether the CIDs of content may be known: not those of an encrypted bucket."""
