"""Endpoints on sockets that systemd listens on, and hands to the service when it starts it (sd_listen_fds(3)).

``systemd:name=NAME`` is the socket with that ``FileDescriptorName=``, by default the socket unit's own name, such as
``ipfsreg.socket``; ``systemd:index=0`` the first one. ``tls=yes`` puts the certificates of ``[tls]`` over it.
"""

import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from twisted.internet.endpoints import serverFromString

KIND = "systemd"
_OPTIONS = {"name", "index", "tls"}


def check_socket(parts: Mapping[str, str]) -> None:
    """Refuse what names no socket. Whether systemd has handed it over only the daemon can know.

    :raises ValueError: with what is wrong.
    """
    strange = sorted(parts.keys() - _OPTIONS)
    if strange:
        raise ValueError(f"{strange[0] or parts['']} is not one of name=, index= and tls=")
    if ("name" in parts) == ("index" in parts):
        raise ValueError("either name= or index= says which of systemd's sockets it is")
    if "index" in parts and not (parts["index"].isascii() and parts["index"].isdecimal()):
        raise ValueError("index is not a number")
    if parts.get("tls", "no") not in {"yes", "no"}:
        raise ValueError("tls is yes or no")


def inherited_socket(parts: Mapping[str, str], reactor: Any) -> tuple[int, int] | None:
    """The descriptor and the address family of a socket that was handed to this process, or None.

    :raises ValueError: where it is no TCP socket that listens.
    """
    which = f"name={parts['name']}" if "name" in parts else f"index={parts['index']}"
    try:
        # Twisted reads the environment once, and then removes the names from it.
        endpoint: Any = serverFromString(reactor, f"{KIND}:domain=INET:{which}")
    except (KeyError, IndexError):
        return None
    descriptor: int = endpoint.fileno
    try:
        family, kind, listens = _describe(descriptor)
    except OSError as error:
        raise ValueError(f"what systemd handed over is no socket: {error.strerror}") from None
    # Twisted removes the file of a Unix socket when it stops, and systemd goes on listening on nothing.
    if family not in {socket.AF_INET, socket.AF_INET6} or kind != socket.SOCK_STREAM or not listens:
        raise ValueError("systemd has to hand over a TCP socket that listens (ListenStream= with a port, Accept=no)")
    return descriptor, family


def is_loopback_socket(parts: Mapping[str, str], reactor: Any) -> bool:
    """Whether a socket can be reached from this machine alone. One that was not handed over nobody reaches."""
    found = inherited_socket(parts, reactor)
    if found is None:
        return True
    with socket.socket(fileno=socket.dup(found[0])) as listening:
        return ip_address(listening.getsockname()[0]).is_loopback


def _describe(descriptor: int) -> tuple[int, int, bool]:
    with socket.socket(fileno=socket.dup(descriptor)) as listening:
        accepts = listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return listening.family, listening.type, bool(accepts)
