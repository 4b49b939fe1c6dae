"""Twisted's reasons, in words for an operator."""

from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet import error
from twisted.python.failure import Failure
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed

_WITH_REASONS = (RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed)

_NOT_CONNECTED = (error.ConnectError, error.DNSLookupError, error.ConnectingCancelledError)


def explain(reason: Failure) -> str:
    """What went wrong, in one line, without quoting what was sent or received.

    Only the texts of errors that are known to be about the connection are used; of others the name.
    """
    value = reason.value
    if isinstance(value, _WITH_REASONS):
        return "; ".join(explain(inner) for inner in value.reasons) or type(value).__name__
    if isinstance(value, TlsError):
        # Its argument is OpenSSL's queue of errors: (library, function, reason).
        queue = value.args[0] if value.args and isinstance(value.args[0], list) else []
        return "TLS: " + (", ".join(str(entry[-1]) for entry in queue) or "the connection was closed")
    if isinstance(value, VerificationError):
        return "TLS: the certificate is not for this host"
    if isinstance(value, error.ConnectionDone):
        return "the server closed the connection"
    if isinstance(value, error.ConnectionLost):
        return "the connection was lost"
    if isinstance(value, (error.ConnectError, error.ConnectBindError, error.DNSLookupError)):
        return str(value).rstrip(".")
    return type(value).__name__


def is_not_connected(reason: Failure) -> bool:
    """Whether no connection came about at all."""
    return isinstance(reason.value, _NOT_CONNECTED)
