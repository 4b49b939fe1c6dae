"""Statuses, their messages and their errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.grpcweb.errors import GrpcError
from ipfsreg.grpcweb.metadata import Metadata
from ipfsreg.grpcweb.status import GrpcStatus, decode_message, find_status


def encode(text: str) -> str:
    """As grpc-go does it (its http_util.go)."""
    return "".join(chr(byte) if 0x20 <= byte <= 0x7E and byte != 0x25 else f"%{byte:02X}" for byte in text.encode())


@given(st.text())
def test_messages_are_decoded(text: str) -> None:
    assert decode_message(encode(text)) == text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("100%25 %C3%A9", "100% é"),
        ("%c3%a9", "é"),
        ("100%", "100%"),
        ("%zz %2", "%zz %2"),
        ("%C3", "\N{REPLACEMENT CHARACTER}"),
        ("%FF%41", "\N{REPLACEMENT CHARACTER}A"),
    ],
)
def test_bad_escapes_are_tolerated(written: str, read: str) -> None:
    assert decode_message(written) == read


@pytest.mark.parametrize(
    "block", [b"Grpc-Status: 9\r\nGrpc-Message: no%20way\r\n", b"grpc-message: no way\r\ngrpc-status:9\r\n"]
)
def test_a_status_is_found_in_any_case_and_order(block: bytes) -> None:
    status = find_status(Metadata.parse(block))
    assert status is not None
    assert (status.code, status.message) == (GrpcStatus.FAILED_PRECONDITION, "no way")


@pytest.mark.parametrize("written", [b"17", b"-1", b"", b"ok", b"99999999999999999999"])
def test_a_status_that_grpc_does_not_know(written: bytes) -> None:
    status = find_status(Metadata.parse(b"grpc-status: " + written + b"\r\n"))
    assert status is not None
    assert status.code is GrpcStatus.UNKNOWN


def test_no_status() -> None:
    assert find_status(Metadata.parse(b"Content-Type: application/grpc+proto\r\nTrailer: Grpc-Status\r\n")) is None


def test_an_error_fits_into_a_log_line() -> None:
    error = GrpcError(GrpcStatus.UNKNOWN, "é\r\n2026 forged line\x1b[0m", Metadata())
    assert str(error) == "UNKNOWN (2): é\\r\\n2026 forged line\\x1b[0m"
    assert error.message == "é\r\n2026 forged line\x1b[0m"
