"""How far long work in the background has come."""

from dataclasses import dataclass


@dataclass
class Progress:
    """What is done now, and how many of its things are; ``of`` how many, where that is known. Empty while it rests."""

    what: str = ""
    done: int = 0
    of: int | None = None

    def begin(self, what: str, of: int | None = None) -> None:
        """Begin something."""
        self.what, self.done, self.of = what, 0, of

    def end(self) -> None:
        """It is over."""
        self.begin("")

    def __str__(self) -> str:
        if not self.what:
            return ""
        return f"{self.what}: {self.done:,}" + ("" if self.of is None else f" of {self.of:,}")
