"""What a storage on IPFS may know of the DAGs of its files, so that nobody else has to compute it."""

from typing import Protocol


class TellsLeaves(Protocol):
    """A storage that makes the DAG of what it stores itself."""

    def tells(self) -> bool:
        """Whether the DAGs of what is stored now have the form of `PROFILE`: then `leaves` knows them."""

    async def leaves(self, path: str, size: int) -> bytes | None:
        """The sha256 of each leaf of a stored file of ``size`` bytes, one after the other.

        None where its DAG has another form. Fails with a `BucketError`.
        """
