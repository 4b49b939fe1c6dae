"""Metadata: what may be sent, what was received, and that no value is shown."""

import pytest

from ipfsreg.grpcweb.errors import GrpcError
from ipfsreg.grpcweb.metadata import Metadata
from ipfsreg.grpcweb.status import GrpcStatus

SECRET = "bearer-hush-hush"


def test_values_are_in_no_repr_and_in_no_text() -> None:
    metadata = Metadata({"authorization": SECRET, "x-key": SECRET})
    error = GrpcError(GrpcStatus.UNAUTHENTICATED, "no", metadata)
    for text in (repr(metadata), str(metadata), f"{metadata!r}", repr(error), str(error), repr(vars(error))):
        assert SECRET not in text
    assert repr(metadata) == "<Metadata authorization, x-key>"
    assert metadata.get("Authorization") == SECRET


@pytest.mark.parametrize("value", [f"{SECRET}\r\nx: y", f"{SECRET}é", f" {SECRET}", f"{SECRET} ", f"{SECRET}\0"])
def test_values_that_cannot_be_sent_are_refused_without_being_quoted(value: str) -> None:
    with pytest.raises(ValueError, match="the value of metadata x-key") as caught:
        Metadata({"x-key": value})
    assert SECRET not in str(caught.value)


def test_a_secret_in_the_place_of_a_name_is_not_quoted_either() -> None:
    with pytest.raises(ValueError) as caught:
        Metadata({f"{SECRET} ": "x-key"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["content-type", "Host", "grpc-timeout", "connection", "transfer-encoding"])
def test_the_clients_own_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the caller's to set"):
        Metadata([(name, "1")])


def test_values_of_one_name_are_joined() -> None:
    metadata = Metadata([("x-a", "1"), ("x-b", ""), ("X-A", "2")])
    assert metadata.get("x-a") == "1, 2"
    assert metadata.get("x-b") == ""
    assert metadata.get("x-c") is None
    assert list(metadata) == [("x-a", "1"), ("x-b", ""), ("x-a", "2")]


def test_blocks_are_read_tolerantly() -> None:
    block = b"Grpc-Status:0\r\nno colon\r\nX: a: b \r\n\r\n"
    assert list(Metadata.parse(block)) == [("grpc-status", "0"), ("x", "a: b")]
