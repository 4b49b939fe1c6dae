"""What was asked of a bucket, what was answered, and whether a state of it goes with that."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from ipfsreg.ipfs.cid import CID


@dataclass
class Write:
    """A change of one path, to content or to nothing. The times are those of the test, one for each step of it."""

    path: str
    content: CID | None
    asked: int
    told: float = inf
    acknowledged: bool = False
    refused: bool = False

    def could_come_after(self, other: "Write") -> bool:
        """Whether it may have been done later than an acknowledged one."""
        return not self.refused and (not self.acknowledged or self.told > other.asked)


@dataclass
class History:
    """All changes of a bucket."""

    writes: dict[str, list[Write]] = field(default_factory=dict)

    def ask(self, path: str, content: CID | None, now: int) -> Write:
        """A change that is being asked for."""
        write = Write(path, content, now)
        self.writes.setdefault(path, []).append(write)
        return write

    def wrong(self, files: Mapping[str, CID], since: float) -> str | None:
        """What a state that somebody asked for at a time cannot be, or None."""
        unknown = set(files) - set(self.writes)
        if unknown:
            return f"nobody has stored {unknown}"
        for path, writes in self.writes.items():
            problem = self._wrong(path, writes, files.get(path), since)
            if problem is not None:
                return problem
        return None

    def _wrong(self, path: str, writes: list[Write], content: CID | None, since: float) -> str | None:
        nothing = Write(path, None, -1, -1, acknowledged=True)
        made = [write for write in [nothing, *writes] if write.content == content and not write.refused]
        if not made:
            return f"{path} leads to what nobody has stored there"
        replaced = [write for write in writes if write.acknowledged and write.told < since]
        for candidate in made:
            if all(candidate is last or candidate.could_come_after(last) for last in replaced):
                return None
        return f"{path} leads to {content}, but {replaced[-1]} was acknowledged"
