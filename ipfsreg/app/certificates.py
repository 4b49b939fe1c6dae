"""The daemon's certificates: the right one for the name that a client asks for, renewed without a restart."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.small_file import CONFIG_MAX, read_small_file
from ipfsreg.config.tls_options import TlsOptions

from .tls_connection import TlsConnection

WATCH_SECONDS = 30.0
"""How often the files are looked at."""

_SHOWN = 5

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption, as in Mozilla's "intermediate" list. 1.3 has its own."""


_HTTP = b"http/1.1"


class BadCertificate(SetupError):
    """A file of ``[tls]`` cannot be used; the text names the option and the file."""


@dataclass(frozen=True, slots=True)
class _Pair:
    context: SSL.Context
    names: tuple[str, ...]
    expires: datetime


class _Pairs:
    """The pairs of one state of the files."""

    def __init__(self, pairs: tuple[_Pair, ...]) -> None:
        self.pairs = pairs
        self._by_name: Mapping[str, SSL.Context] = {
            # Of two pairs for a name, the first counts.
            name: pair.context
            for pair in reversed(pairs)
            for name in pair.names
        }
        for pair in pairs:
            pair.context.set_tlsext_servername_callback(self._choose)

    @property
    def default(self) -> SSL.Context:
        """For clients that ask for no name, or for one that nobody has."""
        return self.pairs[0].context

    def _choose(self, connection: SSL.Connection) -> None:
        """Take the context for the name that the client says (RFC 6066, 3)."""
        asked = (connection.get_servername() or b"").decode("latin-1").lower().rstrip(".")
        _, dot, parent = asked.partition(".")
        context = self._by_name.get(asked) or self._by_name.get(f"*{dot}{parent}")
        if context is not None:
            connection.set_context(context)


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """What TLS endpoints show to clients. A connection keeps what it began with.

    `load` comes first. It and `reload_if_changed` read files: they are for threads.
    """

    _log = Logger()

    def __init__(self, options: TlsOptions) -> None:
        self._options = options
        self._pairs: _Pairs | None = None
        self._seen: object = None

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        assert self._pairs is not None
        return TlsConnection(self._pairs.default, None)

    @property
    def name(self) -> str | None:
        """A name by which clients may reach this machine, or None where no certificate has a DNS name."""
        names = (name for pair in self._pairs.pairs for name in pair.names) if self._pairs else ()
        return next((name for name in names if "*" not in name), None)

    def load(self) -> str:
        """Read all files; answers in a few words what there is now.

        :raises BadCertificate: where one cannot be used. All stays as it was.
        """
        self._seen = self._look()
        authorities = self._authorities()
        pairs = tuple(self._pair(certificate, key, authorities) for certificate, key in self._options.pairs)
        self._pairs = _Pairs(pairs)
        ends = min(pair.expires for pair in pairs)
        names = sorted({name for pair in pairs for name in pair.names}) or ["no name"]
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        verb = "they expired" if ends < datetime.now(UTC) else "valid until"
        return f"the certificates for {shown}, {verb} {ends:%Y-%m-%d %H:%M} UTC"

    def reload_if_changed(self) -> None:
        """Read the files anew where one is another one than before. One that is broken is said once, in the log."""
        if self._look() == self._seen:
            return
        try:
            self._log.info("Clients are shown {now}.", now=self.load())
        except BadCertificate as error:
            self._log.error("{error}; what was read before stays in use.", error=error)

    def _look(self) -> object:
        seen = []
        for path in (*self._options.certificate, *self._options.key, self._options.client_ca):
            if path is not None:
                stat = None
                with suppress(OSError):
                    stat = os.stat(path)
                seen.append(stat and (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return seen

    def _pair(self, certificate: Path, key: Path, authorities: list[x509.Certificate]) -> _Pair:
        chain = _certificates("certificate", certificate)
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(_CIPHERS)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_id(b"ipfsreg")
        context.set_alpn_select_callback(_protocol)
        try:
            context.use_certificate(chain[0])
            for each in chain[1:]:
                context.add_extra_chain_cert(each)
            context.use_privatekey(load_pem_private_key(_read("key", key), None))  # type: ignore[arg-type]
            context.check_privatekey()
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise BadCertificate(f"[tls] key: {key} has no private key that can be used: {_line(error)}") from None
        except SSL.Error:
            raise BadCertificate(f"[tls] key: {key} is not the key of {certificate}") from None
        if authorities:
            store = context.get_cert_store()
            assert store is not None
            for each in authorities:
                store.add_cert(X509.from_cryptography(each))
            required = self._options.client_certificate == "required"
            context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0))
        return _Pair(context, _names(chain[0]), chain[0].not_valid_after_utc)

    def _authorities(self) -> list[x509.Certificate]:
        path = self._options.client_ca
        return [] if path is None else _certificates("client_ca", path)


def _protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """What is spoken, of what a client offers (ALPN, RFC 7301). One that does not offer it may try all the same."""
    return _HTTP if _HTTP in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _certificates(option: str, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(option, path))
    except ValueError:
        raise BadCertificate(f"[tls] {option}: {path} has no certificate in PEM form that can be read") from None


def _read(option: str, path: Path) -> bytes:
    try:
        return read_small_file(path, CONFIG_MAX)
    except OSError as error:
        raise BadCertificate(f"[tls] {option}: {path}: {error.strerror}") from None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
