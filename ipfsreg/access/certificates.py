"""Client certificates: whose they are. That one was signed by the right authority is seen to by TLS.

``[auth] certificate_users`` has a line for each kind of certificate, FIELD PATTERN USER, of which the first that
matches counts. FIELD is ``cn``, ``dns``, ``email`` or ``uri``, PATTERN as in `Pattern`, USER a name, or ``=`` for the
field's value::

    uri   spiffe://example.org/builder/*   builder
    cn    *                                =
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from ipfsreg.config.patterns import Pattern

from .errors import BadCredentials
from .identity import Kind, User

_FIELDS = ("cn", "dns", "email", "uri")
_NAMES_MAX = 100
"""Of how many names of a certificate notice is taken."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The names in a certificate that TLS has verified: pairs of a field and its value."""

    names: tuple[tuple[str, str], ...]
    expires: float


def read_certificate(der: bytes) -> ClientCertificate:
    """Read the names of a verified certificate.

    :raises BadCredentials: where it is none.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = [("cn", str(each.value)) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        try:
            alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            pass
        else:
            for field, kind in (("dns", x509.DNSName), ("email", x509.RFC822Name)):
                names += [(field, value) for value in alternative.get_values_for_type(kind)]
            names += [("uri", value) for value in alternative.get_values_for_type(x509.UniformResourceIdentifier)]
        return ClientCertificate(tuple(names[:_NAMES_MAX]), certificate.not_valid_after_utc.timestamp())
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise BadCredentials("a certificate that cannot be read") from None


class CertificateUsers:
    """The lines, in their order."""

    def __init__(self, lines: Sequence[tuple[str, Pattern, str]]) -> None:
        self._lines = lines

    def user(self, certificate: ClientCertificate) -> User:
        """Whose certificate it is.

        :raises BadCredentials: where no line says so.
        """
        for field, pattern, name in self._lines:
            for of_field, value in certificate.names:
                if field == of_field and pattern.matches(value):
                    return User(_checked(value if name == "=" else name), Kind.CERTIFICATE, expires=certificate.expires)
        raise BadCredentials("a certificate that certificate_users has no line for")


def parse_certificate_users(text: str) -> CertificateUsers:
    """Read the lines.

    :raises ValueError: with one line that quotes what is wrong.
    """
    lines = []
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 3 or words[0] not in _FIELDS:
            raise ValueError(
                f"{line[:120]!r}: a line is cn, dns, email or uri, a pattern, and a user's name or =, such as: cn * ="
            )
        lines.append((words[0], Pattern(words[1]), words[2]))
    return CertificateUsers(lines)


def _checked(name: str) -> str:
    # No robot, and none of another issuer's users: both have a + in their names.
    if not is_user_name(name) or "+" in name:
        raise BadCredentials("a certificate with a name that no user can have")
    return name


def is_user_name(name: str) -> bool:
    """Whether a name from outside can be that of a user: some printable characters without spaces and commas."""
    return 0 < len(name) <= 255 and name.isprintable() and not any(letter in " ," for letter in name)
