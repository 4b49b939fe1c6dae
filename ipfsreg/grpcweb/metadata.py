"""Metadata: the header fields of a call, whose values are secrets."""

import re
from collections.abc import Iterable, Iterator, Mapping

_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?|")
_RESERVED = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "expect", "host", "keep-alive"}
    | {"te", "trailer", "transfer-encoding", "upgrade", "x-grpc-web"}
)


class Metadata:
    """Names and values, in order; a name may come more than once, and its case does not matter.

    Values are API keys and tokens as often as not, so they appear in no ``repr`` and in no exception's text.

    :param fields: what to send: names of lower-case letters, digits, ``_``, ``.`` and ``-``, values of
        printable ASCII with no blank at either end (gRPC's protocol description, "Custom-Metadata").
    :raises ValueError: for a name or value that cannot be sent, and for a name that the client itself fills in
        (``content-type``, ``host``, ``grpc-…`` and their like).
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        self._fields = tuple(_checked(name.lower(), value) for name, value in pairs)

    @classmethod
    def received(cls, fields: Iterable[tuple[bytes, bytes]]) -> "Metadata":
        """Take what a peer sent, as it is."""
        metadata = cls()
        metadata._fields = tuple(
            (name.decode("latin-1").strip().lower(), value.decode("latin-1").strip()) for name, value in fields
        )
        return metadata

    @classmethod
    def parse(cls, block: bytes) -> "Metadata":
        """Take apart the payload of a trailer frame: lines of ``name: value``, ended by CR LF."""
        lines = (line.partition(b":") for line in block.splitlines())
        return cls.received((name, value) for name, colon, value in lines if colon)

    def get(self, name: str) -> str | None:
        """All values of a name, joined by ``, ``; None where the name is not there."""
        values = [value for known, value in self._fields if known == name.lower()]
        return ", ".join(values) if values else None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metadata) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __repr__(self) -> str:
        return f"<Metadata {', '.join(name for name, _ in self._fields)}>"


def _checked(name: str, value: str) -> tuple[str, str]:
    if not _NAME.fullmatch(name):
        raise ValueError("metadata with a name that cannot be sent")  # it may be a value in the wrong place
    if name in _RESERVED or name.startswith("grpc-"):
        raise ValueError(f"metadata {name} is not the caller's to set")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the value of metadata {name} is not printable ASCII, or has a blank at an end")
    return name, value


NO_METADATA = Metadata()
