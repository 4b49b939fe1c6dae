"""Endpoints on sockets that systemd listens on, and hands to the service when it starts it (sd_listen_fds(3)).

``systemd:name=NAME`` is the socket with that ``FileDescriptorName=``, by default the socket unit's own name, such as
``ipfsreg.socket``, or ``unknown`` where nobody has named it; ``systemd:index=0`` is the first one. ``tls=yes`` puts
the certificates of ``[tls]`` over it.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from functools import cache
from ipaddress import ip_address
from pathlib import Path

KIND = "systemd"
_OPTIONS = {"name", "index", "tls"}
_FIRST = 3  # the first descriptor


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


def inherited_socket(parts: Mapping[str, str]) -> tuple[int, int]:
    """The descriptor and the address family of a socket that was handed to this process.

    :raises ValueError: where there is no such one, or it is no TCP socket that listens.
    """
    descriptor = _FIRST + _place_of(parts)
    try:
        family, kind, listens = _describe(descriptor)
    except OSError as error:
        raise ValueError(f"what systemd handed over is no socket: {error.strerror}") from None
    # Twisted removes the file of a Unix socket when it stops, and systemd goes on listening on nothing.
    if family not in {socket.AF_INET, socket.AF_INET6} or kind != socket.SOCK_STREAM or not listens:
        raise ValueError("systemd has to hand over a TCP socket that listens (ListenStream= with a port, Accept=no)")
    return descriptor, family


def is_loopback_socket(parts: Mapping[str, str]) -> bool:
    """Whether a socket can be reached from this machine alone. :raises ValueError: as `inherited_socket`."""
    descriptor, _ = inherited_socket(parts)
    with socket.socket(fileno=socket.dup(descriptor)) as listening:
        return ip_address(listening.getsockname()[0]).is_loopback


def _place_of(parts: Mapping[str, str]) -> int:
    names = _handed_over()
    if not names:
        raise ValueError("systemd has handed over no socket: is its socket unit enabled and started?")
    if "index" in parts:
        places = [place for place in range(len(names)) if place == int(parts["index"])]
    else:
        places = [place for place, name in enumerate(names) if name == parts["name"]]
    if len(places) == 1:
        return places[0]
    there = ", ".join(f"index={place} with name={name}" for place, name in enumerate(names))
    if places:
        raise ValueError(f"systemd has handed over {len(places)} of that name: list each by its index ({there})")
    raise ValueError(f"systemd has not handed over that one; there is {there}")


@cache
def _handed_over() -> Sequence[str]:
    """The names of the sockets that this process was given, in the order of their descriptors."""
    given = _first_environment()
    count = given.get("LISTEN_FDS", "")
    if given.get("LISTEN_PID") != str(os.getpid()) or not (count.isascii() and count.isdecimal() and len(count) < 5):
        return ()
    names = given.get("LISTEN_FDNAMES", "").split(":")
    return [name or "unknown" for name in names] if len(names) == int(count) else ["unknown"] * int(count)


def _first_environment() -> Mapping[str, str]:
    # Twisted removes what it finds, and knows no sockets without names.
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return os.environ
    return dict(entry.decode("utf-8", "replace").split("=", 1) for entry in entries if b"=" in entry)


def _describe(descriptor: int) -> tuple[int, int, bool]:
    with socket.socket(fileno=socket.dup(descriptor)) as listening:
        accepts = listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return listening.family, listening.type, bool(accepts)
