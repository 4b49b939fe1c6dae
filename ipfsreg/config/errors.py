"""What is wrong with a configuration, in one line that never has a secret in it."""

import configparser
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from pydantic import ValidationError

from .environment import variable_of
from .kinds import Section

_SHOWN_MAX = 200  # characters of a wrong value
_LINE_MAX = 1000
_SECRETS = {"authorization", "endpoint", "endpoints", "key", "secret", "token"}  # their values are never quoted
_WORD = re.compile(r"[^\s'\"]+")


class ConfigError(Exception):
    """Something that the user has to change: one line that names file, section and option.

    Whatever it quotes, it is no longer than `_LINE_MAX`, and has nothing in it that a terminal would obey.
    """

    def __init__(self, line: str) -> None:
        shown = line if len(line) <= _LINE_MAX else f"{line[:_LINE_MAX]}…"
        super().__init__("".join(each if each.isprintable() else repr(each)[1:-1] for each in shown))


def malformed(name: str, error: configparser.Error) -> ConfigError:
    """Say where a file breaks the format. The library quotes the line, which may have a secret in it."""
    match error:
        case configparser.MissingSectionHeaderError():
            what = f"line {error.lineno}: an option outside of any section"
        case configparser.ParsingError():
            what = f"line {error.errors[0][0]}: neither a section, an option nor a comment"
        case configparser.DuplicateOptionError():
            what = f"line {error.lineno}: [{error.section}] {error.option}: there already"
        case configparser.DuplicateSectionError():
            what = f"line {error.lineno}: [{error.section}]: there already"
        case _:
            what = _short(" ".join(str(error).split()))
    return ConfigError(f"{name}: {what}")


def refused(
    name: str,
    section: str,
    options: type[Section],
    error: ValidationError,
    in_file: Mapping[str, str],
    in_environment: Mapping[str, str],
) -> ConfigError:
    """Say which option of a section was refused first, and why."""
    first = error.errors(include_url=False)[0]
    option = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        what = f"unknown option{suggestion(option, options.model_fields)}"
    else:
        what = first["msg"].removeprefix("Value error, ")
        if not option:  # what is wrong concerns several options, and says which
            return ConfigError(f"{name}: [{section}]: {what}")
        if option not in _SECRETS:
            value = repr(in_file.get(option, in_environment.get(option)))
            what += f" (it is {_short(_WORD.sub(_without_credentials, value))})"
    if option in in_environment and option not in in_file:
        return ConfigError(f"{variable_of(section, option)} in the environment: {what}")
    return ConfigError(f"{name}: [{section}] {option}: {what}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a line about a word that is not known: the one that may have been meant."""
    matches = get_close_matches(word, list(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def _without_credentials(word: re.Match[str]) -> str:
    """A word without what a URL has before its host, and in its query."""
    _, at, rest = word[0].rpartition("@")
    if "://" in word[0]:
        rest, mark, _ = rest.partition("?")
        rest += f"{mark}…" if mark else ""
    return f"…@{rest}" if at else rest


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
