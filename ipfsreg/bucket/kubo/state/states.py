"""A state of the bucket, and what may be wrong about which one counts."""

from dataclasses import dataclass

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.errors import Unreachable
from ipfsreg.ipfs.cid import CID, parse_cid

MARK = ".ipfsreg"
"""The file of each state that holds its number."""


@dataclass(frozen=True, slots=True, order=True)
class State:
    """A state of the bucket. Of two the one with the higher number is the later."""

    number: int
    root: str

    @property
    def text(self) -> str:
        """What its marker says."""
        return f"{self.number} {self.root}"

    @property
    def cid(self) -> CID:
        """The CID of its directory."""
        return parse_cid(self.root)


class Overtaken(Unreachable):
    """The state that was to be replaced is not the one that counts any more: the pins tell which one does."""


class CannotTell(Unavailable):
    """There are pins that may be of this bucket, and nobody has what they lead to."""
