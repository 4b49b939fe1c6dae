"""JSON documents that others wrote: reading one takes time and memory within a small multiple of its length.

A document can be made to cost as much as possible: 4 MiB of ``{},{},…`` are a million objects, and a million errors
for a parser that collects them. So the number of values is bounded before any of them is made, and the first error is
the only one. No regular expression looks at JSON.
"""

import json
from typing import Any

from .errors import ManifestInvalid
from .long_json import LongText

_BYTES_A_VALUE = 16
"""Values and the brackets around them are this long on average, or longer. A descriptor has four in 130 bytes."""

_VALUES_ALWAYS = 64 * 1024
"""So many a document may have however short they are: a document of 64 KiB is never refused for that."""

_NO_MARKS = bytes(set(range(256)) - set(b'"{[,'))
_SLICE = 64 * 1024


def read_json(content: bytes) -> dict[str, Any]:
    """Read a JSON object (RFC 8259) in UTF-8. Of a name that is there twice, the last value counts.

    :raises ManifestInvalid: where it is not JSON, is nested too deeply, or has too many values for its length.
    """
    try:
        text = content.decode()
        if len(content) <= _VALUES_ALWAYS:
            document = _DECODER.decode(text)
        else:
            _check_number_of_values(content)
            document = LongText(text, _DECODER).read()
    except ManifestInvalid:
        raise
    except ValueError as error:
        raise ManifestInvalid(f"not JSON: {error}") from None
    except RecursionError:
        raise ManifestInvalid("JSON nested too deeply") from None
    if not isinstance(document, dict):
        raise ManifestInvalid("not a JSON object")
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(text)
    return document


def _not_json(name: str) -> None:
    # Python's parser takes these numbers. JSON does not have them, and a client could not read the document.
    raise ManifestInvalid("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(parse_constant=_not_json)


def _check_number_of_values(content: bytes) -> None:
    most = _VALUES_ALWAYS + len(content) // _BYTES_A_VALUE
    if sum(map(content.count, (b"{", b"[", b","))) <= most:
        return
    # Some of these may be in strings: between quotes, once escaped backslashes and quotes are removed.
    begin = found = in_string = 0
    while begin < len(content):
        part = content[begin : begin + _SLICE]
        if (len(part) - len(part.rstrip(b"\\"))) % 2:  # the last one escapes what comes next
            part += content[begin + len(part) : begin + len(part) + 1]
        begin += len(part)
        parts = part.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS).split(b'"')
        found += sum(map(len, parts[in_string::2]))
        in_string ^= (len(parts) - 1) & 1
        if found > most:
            raise ManifestInvalid(f"more than {most} values in {len(content)} bytes")


def _check_surrogates(text: str) -> None:
    """Half of a surrogate pair, escaped, is no character: it could not be encoded again."""
    begin = 0
    while (at := text.find("\\u", begin)) >= 0:
        backslashes = text[begin : at + 1]
        begin = at + 1
        if (len(backslashes) - len(backslashes.rstrip("\\"))) % 2 == 0:
            continue  # the last of them is escaped itself, and this is a letter u
        code = int(text[at + 2 : at + 6], 16)
        begin = at + 6
        if 0xD800 <= code < 0xE000:
            low = text[begin : begin + 6]
            if code >= 0xDC00 or not low.startswith("\\u") or not 0xDC00 <= int(low[2:], 16) < 0xE000:
                raise ManifestInvalid("half of a surrogate pair is no character")
            begin += 6
