"""The credentials of a request: its Authorization header, else the certificate that the client showed."""

import base64
import binascii

from ipfsreg.access.authority import Basic, Bearer, Credentials
from ipfsreg.access.certificates import read_certificate
from ipfsreg.access.errors import BadCredentials
from ipfsreg.web.http.request import Request


def credentials_of(request: Request) -> Credentials:
    """What a request came with; None is nothing.

    :raises BadCredentials: where it cannot be read, or is of a kind that nobody here understands.
    """
    header = request.header("authorization")
    if header is None:
        certificate = request.client_certificate()
        return None if certificate is None else read_certificate(certificate)
    scheme, _, rest = header.partition(" ")
    rest = rest.strip(" ")
    if scheme.lower() == "bearer":
        return Bearer(rest)
    if scheme.lower() == "basic":
        return read_basic(rest)
    raise BadCredentials(f"credentials of the kind {scheme[:32]!r}")


def read_basic(text: str) -> Basic:
    """A name and a password, as RFC 7617 has them, with UTF-8.

    :raises BadCredentials: where it is none.
    """
    try:
        name, colon, password = base64.b64decode(text.encode("latin-1"), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise BadCredentials("a Basic header that cannot be read") from None
    if not colon:
        raise BadCredentials("a Basic header without a password")
    return Basic(name, password)
