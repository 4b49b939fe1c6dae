"""Numbers, times and other people's text as a person reads them."""

import sys
from datetime import UTC, datetime

from ipfsreg.flow.progress import size_text

_UNITS = (("year", 365 * 86400), ("month", 30 * 86400), ("week", 7 * 86400), ("day", 86400), ("hour", 3600))


def printable(text: str) -> str:
    """A text in which nothing moves the cursor, changes colours or turns the direction of writing: it is escaped."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def counted(number: int, what: str) -> str:
    """``1 tag``, ``2 tags``, ``2 repositories``."""
    if number == 1:
        return f"1 {what}"
    return f"{number} {what[:-1]}ies" if what.endswith("y") else f"{number} {what}s"


def sized(length: int) -> str:
    """A length in a sentence: ``1.57 MB`` for a person, and ``1572864 bytes`` where standard output is no terminal."""
    return size_text(length) if sys.stdout.isatty() else counted(length, "byte")


def in_words(seconds: float) -> str:
    """A time in the largest unit in which it is a whole number."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            return counted(int(seconds // length), unit)
    return f"{seconds:g} seconds"


def ago(moment: str | None) -> str | None:
    """How long ago a time of ISO 8601 was, in its largest unit; None for what is no time."""
    if moment is None:
        return None
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return None
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    for unit, length in (*_UNITS, ("minute", 60)):
        if seconds >= length:
            return f"{counted(int(seconds // length), unit)} ago"
    return "just now"
