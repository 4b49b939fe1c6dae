"""The same over TLS: https and wss, trusted and not."""

import datetime
from ipaddress import ip_address
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates
from twisted.web.client import BrowserLikePolicyForHTTPS

from ipfsreg.grpcweb.errors import CallCancelled, ConnectionBroken, DeadlineExceeded

from . import handlers
from .conftest import Connect, Serve
from .raw import Endless, Raw
from .server import until
from .test_deadlines import nothing_left


def certificate() -> PrivateCertificate:
    """A new one for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "grpcweb tests")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(encoding, form, serialization.NoEncryption()) + signed.public_bytes(encoding)
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(pem)
    return loaded


CERTIFICATE = certificate()


def trusting(*certificates: Certificate) -> BrowserLikePolicyForHTTPS:
    return BrowserLikePolicyForHTTPS(trustRootFromCertificates(certificates))


@pytest_twisted.ensureDeferred
async def test_calls_of_every_kind(serve: Serve, connect: Connect, transport: Any) -> None:
    server = await serve(
        {"/x.Svc/Echo": handlers.echo, "/x.Svc/Token": handlers.challenge, "/x.Svc/Flood": handlers.flood},
        tls=CERTIFICATE.options(),
    )
    channel = connect(server, transport=transport, tls_policy=trusting(CERTIFICATE))
    for _ in range(3):
        assert await channel.unary("/x.Svc/Echo", Raw(b"1"), Raw, deadline=5) == Raw(b"1")
    stream = channel.stream("/x.Svc/Token", Raw, deadline=5)
    stream.requests.send(Raw(b"me"))
    assert await stream.responses.receive() == Raw(b"sign this, me")
    stream.requests.send(Raw(b"signed: sign this, me"))
    stream.requests.finish()
    assert await stream.responses.only() == Raw(b"token for me")
    flood = channel.server_stream("/x.Svc/Flood", Raw(b"200 65536"), Raw, deadline=20)
    assert len([message async for message in flood.responses]) == 200


@pytest_twisted.ensureDeferred
async def test_an_upload_with_back_pressure(serve: Serve, connect: Connect, transport: Any) -> None:
    server = await serve({"/x.Svc/Count": handlers.count}, tls=CERTIFICATE.options())
    channel = connect(server, transport=transport, tls_policy=trusting(CERTIFICATE))
    stream = channel.stream("/x.Svc/Count", Raw, deadline=20)
    producer = Endless(stream.requests, 65536, 4 * 1024**2)
    assert (await stream.responses.only()).data.startswith(b"4194304 ")
    assert producer.pauses > 4


@pytest.mark.parametrize("streaming", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_certificate_that_is_not_trusted(
    streaming: bool, serve: Serve, connect: Connect, transport: Any
) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo}, tls=CERTIFICATE.options())
    channel = connect(server, transport=transport, tls_policy=trusting(certificate()))
    stream = channel.stream("/x.Svc/Echo", Raw, deadline=5)
    if not streaming:
        stream = channel.server_stream("/x.Svc/Echo", Raw(), Raw, deadline=5)
    with pytest.raises(ConnectionBroken, match="TLS: certificate verify failed"):
        await stream.responses.receive()
    assert server.calls == []


@pytest_twisted.ensureDeferred
async def test_a_certificate_for_another_host(serve: Serve, connect: Connect, transport: Any) -> None:
    server = await serve({"/x.Svc/Echo": handlers.echo}, tls=CERTIFICATE.options())
    url = server.url.replace("127.0.0.1", "localhost")
    channel = connect(url, transport=transport, tls_policy=trusting(CERTIFICATE))
    with pytest.raises(ConnectionBroken, match="TLS: the certificate is not for this host"):
        await channel.unary("/x.Svc/Echo", Raw(), Raw, deadline=5)


@pytest.mark.parametrize("kind", ["deadline", "cancel at once", "cancel"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_a_call_cut_short(kind: str, serve: Serve, connect: Connect, transport: Any) -> None:
    server = await serve({"/x.Svc/Flood": handlers.flood}, tls=CERTIFICATE.options())
    channel = connect(server, transport=transport, tls_policy=trusting(CERTIFICATE))
    deadline = 0.3 if kind == "deadline" else 30.0
    # Nobody takes the answer, so the client does not read, and would not see the server say goodbye. Nor does the
    # server see the end of its connection: it waits to write the rest. So the system is asked.
    stream = channel.server_stream("/x.Svc/Flood", Raw(b"1000 65536"), Raw, deadline=deadline)
    await until(lambda: server.calls)
    if kind == "cancel":  # when the server waits for us to read
        await until(lambda: server.calls[0].peer.is_paused)
    if kind != "deadline":
        stream.cancel()
    await until(lambda: not channel.connections, seconds=3)
    assert not any(peer.is_connected() for peer in server.peers)
    with pytest.raises((CallCancelled, DeadlineExceeded)):
        await stream.responses.receive()
    await nothing_left(channel, server, seconds=3)
