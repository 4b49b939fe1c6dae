"""Reading a long JSON text in steps, so that other threads get their turn.

Python's parser is in C and keeps the interpreter to itself until it is through: up to 140 ms for 4 MiB. Here it reads
one list, object or other value at a time. What is longer than a slice is taken apart in Python.
"""

import json
from typing import Any

SLICE = 32 * 1024
"""The parser's longest step but for a single string or number, in letters: about a millisecond."""

TRIED = 8
"""So deep a list or object is first tried as one that fits in a slice. Each try that fails is work for a slice: without
a bound, a long text in a thousand brackets would be read a thousand times."""

_BLANK = frozenset(" \t\n\r")


class LongText:
    """A JSON text to read, once. ``decoder`` says what becomes of numbers and constants."""

    def __init__(self, text: str, decoder: json.JSONDecoder) -> None:
        self._text = text
        self._decode = decoder.raw_decode
        self._slice = ""
        self._slice_begins = 0

    def read(self) -> Any:
        """The value that the text is.

        :raises ValueError: where it is not JSON.
        :raises RecursionError: where it is nested too deeply.
        """
        text = self._text
        try:
            at = self._after_blank(0)
            value, at = self._container(at, 0) if text[at] in "[{" else self._decode(text, at)
        except IndexError:
            raise json.JSONDecodeError("It ends too early", text, len(text)) from None
        while at < len(text) and text[at] in _BLANK:
            at += 1
        if at < len(text):
            raise json.JSONDecodeError("Extra data", text, at)
        return value

    def _container(self, at: int, depth: int) -> tuple[Any, int]:
        """Read the list or object that begins at ``at``; answers where it ends as well."""
        text, decode = self._text, self._decode
        items: list[Any] = []
        members: dict[str, Any] = {}
        is_object = text[at] == "{"
        end = "}" if is_object else "]"
        at = self._after_blank(at + 1)
        if text[at] == end:
            return members if is_object else items, at + 1
        name = ""
        while True:
            if is_object:
                if text[at] != '"':
                    raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
                name, at = decode(text, at)
                at = self._after_blank(at)
                if text[at] != ":":
                    raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
                at = self._after_blank(at + 1)
            if text[at] not in "[{":
                value, at = decode(text, at)
            elif depth < TRIED and (found := self._in_slice(at)):
                value, at = found
            else:
                value, at = self._container(at, depth + 1)
            if is_object:
                members[name] = value
            else:
                items.append(value)
            at = self._after_blank(at)
            if text[at] == end:
                return members if is_object else items, at + 1
            if text[at] != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            at = self._after_blank(at + 1)

    def _in_slice(self, at: int) -> tuple[Any, int] | None:
        """Read a list or object that ends within a slice; None for a longer one, and for one with a mistake."""
        while True:
            begins = self._slice_begins
            if begins <= at < begins + len(self._slice):
                try:
                    value, end = self._decode(self._slice, at - begins)
                except ValueError:
                    if at == begins:
                        return None
                else:
                    return value, begins + end
            self._slice_begins, self._slice = at, self._text[at : at + SLICE]

    def _after_blank(self, at: int) -> int:
        text = self._text
        while text[at] in _BLANK:
            at += 1
        return at
