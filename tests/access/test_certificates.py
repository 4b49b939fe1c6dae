"""Whose a client's certificate is."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ipfsreg.access.certificates import ClientCertificate, parse_certificate_users, read_certificate
from ipfsreg.access.errors import BadCredentials

LINES = """
    # builders have no name of their own
    uri    spiffe://example.org/builder/*  builder
    email  *@example.org                   =
    cn     *.local                         machine
    cn     **                              =
"""


def made(*names: tuple[str, str]) -> ClientCertificate:
    return ClientCertificate(names, 2e9)


@pytest.mark.parametrize(
    ("names", "user"),
    [
        ([("cn", "alice")], "alice"),
        ([("cn", "x.local")], "machine"),
        ([("cn", "x"), ("uri", "spiffe://example.org/builder/7")], "builder"),
        ([("cn", "x"), ("uri", "spiffe://example.org/builder/7/8")], "x"),
        ([("cn", "x"), ("email", "bob@example.org")], "bob@example.org"),
        ([("dns", "alice")], None),
        ([], None),
        ([("cn", "a b")], None),
        ([("cn", "a,b")], None),
        ([("cn", "robot+ci")], None),
        ([("cn", "github+acme")], None),
        ([("cn", "a\nb")], None),
        ([("cn", "a" * 300)], None),
    ],
)
def test_the_first_line_that_matches_says_who(names: list[tuple[str, str]], user: str | None) -> None:
    users = parse_certificate_users(LINES)
    if user is None:
        with pytest.raises(BadCredentials):
            users.user(made(*names))
    else:
        assert users.user(made(*names)).name == user


@pytest.mark.parametrize("line", ["cn *", "serial * =", "cn * = more", "cn " + "a" * 600 + " ="])
def test_a_wrong_line(line: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_certificate_users(line)
    assert len(str(raised.value)) < 300


def test_names_are_read_from_the_certificate() -> None:
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    now = datetime.now(UTC).replace(microsecond=0)
    alternative = x509.SubjectAlternativeName(
        [
            x509.DNSName("host.example.org"),
            x509.RFC822Name("alice@example.org"),
            x509.UniformResourceIdentifier("spiffe://example.org/x"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternative, critical=False)
        .sign(key, None)
    )
    found = read_certificate(certificate.public_bytes(Encoding.DER))
    assert dict(found.names) == {
        "cn": "alice",
        "dns": "host.example.org",
        "email": "alice@example.org",
        "uri": "spiffe://example.org/x",
    }
    assert found.expires == (now + timedelta(days=1)).timestamp()
    for damaged in (b"", b"\x30\x03abc", certificate.public_bytes(Encoding.DER)[:-40]):
        with pytest.raises(BadCredentials):
            read_certificate(damaged)
