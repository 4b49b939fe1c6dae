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

    def begin(self, what: str, total: int | None = None) -> None:
        """Something new begins."""
        self.what, self.done, self.total, self.moved = what, 0, total, 0
