"""Files that a bucket may begin to take while they are still being written."""

from pathlib import Path
from typing import Protocol


class TakesAhead(Protocol):
    """What a backend offers that can store content before it knows whether it will be wanted, and where.

    Nothing may refer to such content before `IBucket.put_file` of its source: until then it is not verified, and may
    never be. Such a backend does not keep the source itself, so that need not be fsynced. Nothing here fails: what a
    backend could not begin early it does all of then.
    """

    def grown(self, source: Path, size: int) -> None:
        """The first ``size`` bytes of a file are written and will stay as they are."""

    def forget(self, source: Path) -> None:
        """A file will not be stored after all, or its bytes change. It may be one that was never told of."""
