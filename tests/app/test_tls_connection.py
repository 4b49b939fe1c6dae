"""TLS in larger pieces than its records, between two connections in memory."""

from contextlib import suppress
from pathlib import Path

import pytest
from OpenSSL import SSL

from ipfsreg.app.tls_connection import AT_ONCE, RECORD_MAX, TlsConnection
from tests.certificate_authority import CertificateAuthority

MORE = 2**15
Ends = tuple[SSL.Connection, TlsConnection]


def carry(source: SSL.Connection, target: SSL.Connection) -> None:
    """Bring what one has written to the other."""
    with suppress(SSL.WantReadError):
        while True:
            target.bio_write(source.bio_read(2**20))


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    """A client and a server that have shaken hands."""
    certificate, key = CertificateAuthority().issue(tmp_path, "server", "localhost")
    context = SSL.Context(SSL.TLS_METHOD)
    context.use_certificate_file(str(certificate))
    context.use_privatekey_file(str(key))
    client, server = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None), TlsConnection(context, None)
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(3):
        for end, other in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                end.do_handshake()
            carry(end, other)
    return client, server


def send(ends: Ends, *records: bytes) -> None:
    client, server = ends
    for record in records:
        assert client.send(record) == len(record)
    carry(client, server)


def all_of(server: TlsConnection) -> list[bytes]:
    """The pieces that can be had now."""
    pieces = []
    with suppress(SSL.WantReadError):
        while True:
            pieces.append(server.recv(MORE))
    return pieces


def test_long_records_are_given_together(ends: Ends) -> None:
    content = bytes(range(256)) * 64 * 3 + b"end"
    send(ends, *(content[at : at + RECORD_MAX] for at in range(0, len(content), RECORD_MAX)))
    assert all_of(ends[1]) == [content]
    send(ends, content[:RECORD_MAX])
    assert all_of(ends[1]) == [content[:RECORD_MAX]]


def test_a_piece_has_a_bound(ends: Ends) -> None:
    records = 2 * AT_ONCE // RECORD_MAX + 1
    send(ends, *[b"x" * RECORD_MAX] * records)
    pieces = all_of(ends[1])
    assert [len(piece) for piece in pieces] == [AT_ONCE, AT_ONCE, RECORD_MAX]


def test_of_short_records_only_the_first_is_alone(ends: Ends) -> None:
    for _ in range(2):
        send(ends, *[b"a"] * 100)
        assert all_of(ends[1]) == [b"a", b"a" * 99]
    send(ends, b"head")
    assert all_of(ends[1]) == [b"head"]


def test_what_came_before_the_end_is_given_before_it(ends: Ends) -> None:
    client, server = ends
    client.send(b"x" * RECORD_MAX)
    client.shutdown()
    carry(client, server)
    assert server.recv(MORE) == b"x" * RECORD_MAX
    for _ in range(2):
        with pytest.raises(SSL.ZeroReturnError):
            server.recv(MORE)


def test_what_came_before_a_forgery_is_given_before_it_fails(ends: Ends) -> None:
    send(ends, b"x" * RECORD_MAX)
    ends[1].bio_write(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert ends[1].recv(MORE) == b"x" * RECORD_MAX
    with pytest.raises(SSL.Error) as raised:
        ends[1].recv(MORE)
    assert not isinstance(raised.value, SSL.WantReadError)
