"""The simplest message there is, and a message of protobuf's own."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Raw:
    """A message that is its own bytes."""

    data: bytes = b""

    def SerializeToString(self) -> bytes:
        return self.data

    @classmethod
    def FromString(cls, data: bytes, /) -> Self:
        return cls(data)


class Undecodable:
    """A class whose messages can never be decoded; the exception quotes what it got."""

    @classmethod
    def FromString(cls, data: bytes, /) -> Self:
        raise ValueError(f"cannot decode {data!r}")
