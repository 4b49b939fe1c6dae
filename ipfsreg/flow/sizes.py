"""Sizes for people, in the units of Docker's commands and of Docker Hub: a MB is a million bytes."""

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
_LARGEST = 10**21


def size_text(size: int | None) -> str:
    """A number of bytes with three digits, such as ``3.21 MB``; a dash where nobody knows."""
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
