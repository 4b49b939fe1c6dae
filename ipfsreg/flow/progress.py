"""How far long work is, for whoever wants to look."""

from dataclasses import dataclass


@dataclass
class Progress:
    """``done`` of ``total`` at ``what``, and ``moved`` bytes with it; ``total`` is None where nobody knows.

    The work sets it, and whoever waits reads it now and then.
    """

    what: str = ""
    done: int = 0
    total: int | None = None
    moved: int = 0

    def __str__(self) -> str:
        """For people, such as ``Reading contents: 1,000 of 20,000``."""
        if not self.done and self.total is None:
            return self.what
        return f"{self.what}: {self.done:,}" + ("" if self.total is None else f" of {self.total:,}")

    def begin(self, what: str, total: int | None = None) -> None:
        """Something new begins."""
        self.what, self.done, self.total, self.moved = what, 0, total, 0
