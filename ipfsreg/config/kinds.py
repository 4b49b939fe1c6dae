"""The kinds of values that a configuration file has, and the base of its sections."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import durationpy
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

LATER = ConfigDict(defer_build=True)
"""What pydantic makes to validate a type takes a millisecond or more: with this it is made when it is used."""

_BYTES = TypeAdapter(ByteSize, config=LATER)

UNLIMITED = {"unlimited", "never", "off", "none"}


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = durationpy.from_str(value.strip()).total_seconds()
        except (durationpy.DurationError, OverflowError):
            raise ValueError("a time is a number with ms, s, m, h, d or w, such as 90s or 1h30m") from None
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


def or_none(value: Any) -> Any:
    """None for ``unlimited`` and the like: to be used before validation."""
    return None if isinstance(value, str) and value.strip().lower() in UNLIMITED else value


def _size(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return int(_BYTES.validate_python(value))
        except (ValidationError, OverflowError):
            raise ValueError("a size is a number of bytes, or one with KiB, MiB, GiB, kB, MB or GB") from None
    return value


Duration = Annotated[float, BeforeValidator(_duration), Field(ge=0)]
"""Seconds, written like ``90s``, ``1h30m`` or ``7d``."""

OptionalDuration = Annotated[Duration | None, BeforeValidator(or_none)]
"""A `Duration`, or None for ``never``."""

Positive = Annotated[Duration, Field(gt=0)]
"""A `Duration` of more than nothing."""

OptionalPositive = Annotated[Positive | None, BeforeValidator(or_none)]
"""A `Positive`, or None for ``never``."""

Size = Annotated[int, BeforeValidator(_size), Field(ge=0)]
"""Bytes, written like ``512``, ``64MiB`` or ``10GB``."""

OptionalSize = Annotated[Size | None, BeforeValidator(or_none)]
"""A `Size`, or None for ``unlimited``."""


Rate = Annotated[Annotated[Size, Field(gt=0)] | None, BeforeValidator(or_none)]
"""Bytes a second, or None for ``unlimited``."""


def _path(value: Any) -> Any:
    if isinstance(value, str):
        if not value:
            raise ValueError("an empty path")
        if "\0" in value:
            raise ValueError("a path has no NUL")
        if any(ord(letter) < ord(" ") for letter in value):
            raise ValueError("a path is one line, without control characters")
    return value


def expanded(value: Path) -> Path:
    """A path from the root; ``~`` is the user's home. :raises ValueError: for the home of nobody."""
    try:
        return value.expanduser().absolute()
    except RuntimeError as error:  # of a user that there is not
        raise ValueError(str(error).rstrip(".")) from None


Directory = Annotated[Path, BeforeValidator(_path), AfterValidator(expanded)]
"""A path; ``~`` is the user's home."""


def split_list(value: Any) -> Any:
    """What is separated by commas or lines, as a tuple: to be used before validation."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.replace("\n", ",").split(",") if part.strip())
    return value


Listed = Annotated[tuple[str, ...], BeforeValidator(split_list)]
"""Texts, separated by commas or lines."""


def url_problem(url: str) -> str | None:
    """What is wrong with a URL to which something is sent, to be said behind its name; None where it is good.

    Nothing of the URL is quoted: there may be a secret in it.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isascii() and parts.port != 0
    except ValueError:
        good = False
    if not good:
        return "is not one of http:// or https://"
    return None if parts.username is None else "has a password in it"


class Section(BaseModel):
    """The options of one section of the configuration file. Its defaults are valid as they stand."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, validate_default=True)
