"""CAR, a stream of blocks with their CIDs.

https://ipld.io/specs/transport/car/carv1/ and https://ipld.io/specs/transport/car/carv2/
"""

import struct
from collections.abc import Iterator, Sequence

import cbor2

from .cid import CID, CIDInvalid, decode_cid
from .varint import decode_varint, encode_varint

HEADER_MAX = 64 * 1024
"""The longest header that is read, in bytes: some 1,500 roots."""

BLOCK_MAX = 2 * 1024 * 1024
"""The longest block that is read, in bytes: what IPFS nodes exchange."""

_CID_MAX = 256
_TAG = 42  # of a CID in DAG-CBOR

_PRAGMA = bytes.fromhex("0aa16776657273696f6e02")
_HEADER = struct.Struct("<16sQQQ")  # characteristics, data offset, data size, index offset
_FRAME = len(_PRAGMA) + _HEADER.size


class CARInvalid(ValueError):
    """Bytes that are no CAR of version 1, or one that ends too early."""


def encode_header(roots: Sequence[CID]) -> bytes:
    """How a CAR with these roots begins."""
    links = [cbor2.CBORTag(_TAG, b"\0" + root.binary) for root in roots]
    header = cbor2.dumps({"roots": links, "version": 1})  # in the order of DAG-CBOR: the shorter key first
    return encode_varint(len(header)) + header


def section_head(cid: CID, length: int) -> bytes:
    """What comes before the ``length`` bytes of a block."""
    binary = cid.binary
    return encode_varint(len(binary) + length) + binary


class CARReader:
    """Reads a CAR that comes in pieces. It keeps no more than a block and the last piece.

    ``roots`` is known once any block is, or after `finish`. Blocks are not compared with their CIDs: that is for
    `verify_block`.
    """

    def __init__(self) -> None:
        self.roots: Sequence[CID] = ()
        self._began = False
        self._data = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[CID, bytes]]:
        """Take a piece in; yields the blocks that are whole now, all of which must be taken before the next piece.

        :raises CARInvalid: where this is no CAR.
        """
        self._data += piece
        offset = 0
        while (section := self._section(offset)) is not None:
            begin, offset = section
            if not self._began:
                self.roots = _decode_header(bytes(self._data[begin:offset]))
                self._began = True
                continue
            try:
                cid, body = decode_cid(memoryview(self._data)[begin : min(offset, begin + _CID_MAX)])
            except CIDInvalid as error:
                raise CARInvalid(str(error)) from None
            yield cid, bytes(memoryview(self._data)[begin + body : offset])
        del self._data[:offset]

    def finish(self) -> None:
        """That was all.

        :raises CARInvalid: where more should have come.
        """
        if not self._began:
            raise CARInvalid("this is no CAR, or it ends too early: its header is not there")
        if self._data:
            raise CARInvalid("the CAR ends too early")

    def _section(self, offset: int) -> tuple[int, int] | None:
        """Where the next section begins and ends, or None where not all of it is there."""
        try:
            length, begin = decode_varint(self._data, offset)
        except EOFError:
            return None
        except ValueError as error:
            raise CARInvalid(str(error)) from None
        if length > (BLOCK_MAX + _CID_MAX if self._began else HEADER_MAX):
            raise CARInvalid(f"a section of {length} bytes is longer than it may be")
        if not length:
            raise CARInvalid("an empty section")
        return None if begin + length > len(self._data) else (begin, begin + length)


class PayloadReader:
    """Takes the CAR of version 1 out of a file of either version that comes in pieces: version 2 has a frame."""

    def __init__(self) -> None:
        self._begin = b""
        self._skip = 0
        self._left: int | None = None  # of the payload; None where all that comes belongs to it
        self._known = False

    def feed(self, piece: bytes) -> bytes:
        """Take a piece in; answers what of it belongs to the CAR of version 1.

        :raises CARInvalid: where the frame is none.
        """
        if not self._known:
            self._begin += piece
            if len(self._begin) < _FRAME and _PRAGMA.startswith(self._begin[: len(_PRAGMA)]):
                return b""
            piece, self._begin, self._known = self._begin, b"", True
            if piece.startswith(_PRAGMA):
                _, offset, self._left, _ = _HEADER.unpack_from(piece, len(_PRAGMA))
                if offset < _FRAME:
                    raise CARInvalid("a CAR of version 2 whose data begins within its header")
                self._skip = offset
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        piece = piece[skipped:]
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        return piece

    def finish(self) -> bytes:
        """That was all; answers what is left.

        :raises CARInvalid: where more should have come.
        """
        if self._left or self._skip or self._begin.startswith(_PRAGMA):
            raise CARInvalid("the CAR ends too early")
        return self._begin


def _decode_header(data: bytes) -> Sequence[CID]:
    try:
        header = cbor2.loads(data)
    except Exception as error:  # of foreign bytes a decoder may fail with anything
        raise CARInvalid(f"the header is not CBOR: {error}"[:200]) from None
    if not isinstance(header, dict) or header.get("version") != 1:
        version = header.get("version") if isinstance(header, dict) else None
        says = f" (it says {version})" if isinstance(version, int) and version.bit_length() < 64 else ""
        raise CARInvalid(f"not a CAR of version 1{says}")
    roots = header.get("roots")
    if not isinstance(roots, list):
        raise CARInvalid("the header has no roots")
    return [_decode_root(root) for root in roots]


def _decode_root(root: object) -> CID:
    value = root.value if isinstance(root, cbor2.CBORTag) and root.tag == _TAG else None
    if not isinstance(value, bytes) or value[:1] != b"\0":
        raise CARInvalid("a root in the header is not a CID")
    try:
        cid, end = decode_cid(value, 1)
    except CIDInvalid as error:
        raise CARInvalid(str(error)) from None
    if end != len(value):
        raise CARInvalid("a root in the header is not a CID")
    return cid
