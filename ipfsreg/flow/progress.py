"""How far long work is, and how large something is, for whoever wants to look."""

from dataclasses import dataclass

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
_LARGEST = 10**21


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


def size_text(size: int | None) -> str:
    """A number of bytes with three digits, such as ``3.21 MB``; a dash where nobody knows.

    A MB is a million bytes, as for Docker's commands and on Docker Hub.
    """
    if size is None:
        return "\N{EN DASH}"
    if size >= _LARGEST:
        return "very large"
    if size < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    number, unit = float(size), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number /= 1000
        unit += 1
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:.{digits}f} {_UNITS[unit]}"
