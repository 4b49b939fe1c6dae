"""Which Twisted endpoint strings one can listen on: checked before anything is bound. Which hosts are this machine."""

import errno
import os
import re
import socket
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from ipfsreg.flow.probe import cannot_make_in

from . import systemd_sockets
from .small_file import CONFIG_MAX, read_small_file

TLS = "tls"
"""The kind of an endpoint that is plain TCP for Twisted, below TLS with the certificates of ``[tls]``."""

_PARTS = re.compile(r"(?<!\\):")
_PORTS = {"tcp", "tcp4", "tcp6", "ssl", TLS}  # kinds whose first part is a port
_TCP_PARTS = ("port", "interface", "backlog")
_PORT_MAX = 65535
_BACKLOG_MAX = 2**31 - 1
_WITH_BACKLOG = {*_PORTS, "unix"}

BACKLOG = 4096
"""How many connections may wait to be taken; a whole cluster pulls at once. The kernel has a bound of its own."""

_SOCKET_PATH_MAX = 107  # bytes; Linux has 108 with the NUL at the end


class EndpointError(Exception):
    """A string that is no endpoint, or one that nothing can listen on; the text says why."""


def check_endpoint(description: str, reactor: Any) -> None:
    """Refuse what will certainly not work. Whether a port is free only shows when it is bound.

    :raises EndpointError: with what is wrong.
    """
    kind, parts = _parts_of(description)
    if kind == systemd_sockets.KIND:
        try:
            systemd_sockets.check_socket(parts)
        except ValueError as error:
            raise EndpointError(f"{description!r}: {error}, as in systemd:name=ipfsreg.socket") from None
        return
    if kind == "ssl":
        _check_key_files(description, parts)
    try:
        serverFromString(reactor, _for_twisted(description))
    except OSError as error:  # of a key or certificate that it names
        raise EndpointError(f"{description!r}: {error.strerror}: {error.filename}") from None
    except Exception as error:
        # Each kind of endpoint has its own parser, with its own exceptions.
        raise _no_endpoint(description, " ".join(str(error).split()) or type(error).__name__) from None
    if kind in _PORTS:
        if not 0 <= _number(description, parts, "port") <= _PORT_MAX:
            raise _no_endpoint(description, f"a port is at most {_PORT_MAX}")
        interface = parts.get("interface", "")
        if "\0" in interface or (re.fullmatch(r"[0-9.]+", interface) and not _is_address(interface)):
            raise _no_endpoint(description, "the interface is no IP address")
    if not 0 <= _number(description, parts, "backlog") <= _BACKLOG_MAX:
        raise _no_endpoint(description, f"a backlog is at most {_BACKLOG_MAX}")
    if kind == "unix":
        address = Path(parts["address"])
        if len(bytes(address)) > _SOCKET_PATH_MAX:
            raise EndpointError(f"{description!r}: the path of a socket has at most {_SOCKET_PATH_MAX} bytes")
        if not address.parent.is_dir():
            raise EndpointError(f"{description!r}: no such directory: {address.parent}")


def listens_as(description: str, host: str, port: int) -> bool:
    """Whether an endpoint that was found good is what ``host`` and ``port`` lead to from this machine.

    ``host`` is a name of this machine or one of its IP addresses. Nothing is looked up.
    """
    kind, parts = _parts_of(description)
    if kind not in _PORTS or int(parts["port"]) != port:
        return False
    if host in {parts.get("interface"), "localhost", socket.gethostname()}:
        return True
    if not _is_address(host):
        return False
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:  # it is another machine's
        return False
    return True


def listening_problem(description: str) -> str | None:
    """Why nothing can listen on an endpoint that was found good, or None.

    A port in use is no reason: it may be this registry's daemon that uses it.
    """
    kind, parts = _parts_of(description)
    if kind == "unix":
        path = Path(parts["address"])
        if os.path.lexists(path) and not path.is_socket():
            return f"{path} is there already, and is no socket"
        return cannot_make_in(path.parent)
    if kind not in _PORTS:
        return None
    interface = parts.get("interface", "")
    try:
        family = socket.AF_INET6 if kind == "tcp6" or ":" in interface else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((interface, int(parts["port"])))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        return str(error.strerror or error)
    except (ValueError, UnicodeError) as error:
        return " ".join(str(error).split())
    return None


def server_endpoint(description: str, reactor: Any) -> IStreamServerEndpoint:
    """The endpoint for a string that was found good, with `BACKLOG` where it says no other.

    That of `TLS` is only the TCP below it.

    :raises EndpointError: where it is a socket of systemd's that this process was not given.
    """
    kind, parts = _parts_of(description)
    if kind == systemd_sockets.KIND:
        return _inherited_endpoint(parts, reactor)
    description = _for_twisted(description)
    if kind in _WITH_BACKLOG and "backlog" not in parts:
        with suppress(TypeError):  # it says one without the name
            return cast(IStreamServerEndpoint, serverFromString(reactor, f"{description}:backlog={BACKLOG}"))
    return cast(IStreamServerEndpoint, serverFromString(reactor, description))


def is_for_this_machine(description: str) -> bool:
    """Whether programs on this machine alone reach an endpoint that was found good, as far as it says so."""
    kind, parts = _parts_of(description)
    if kind == "unix":
        return True
    if kind == systemd_sockets.KIND:
        try:
            return systemd_sockets.is_loopback_socket(parts)
        except ValueError:  # it is not there, or nobody can listen on it
            return True
    interface = parts.get("interface", "")
    return kind in _PORTS and (
        interface == "localhost" or (_is_address(interface) and ip_address(interface).is_loopback)
    )


def has_tls(description: str) -> bool:
    """Whether the certificates of ``[tls]`` are for this endpoint."""
    kind, parts = _parts_of(description)
    return kind == TLS or (kind == systemd_sockets.KIND and parts.get("tls") == "yes")


def scheme_of(description: str) -> str:
    """``https`` or ``http``: what clients speak on this endpoint."""
    return "https" if has_tls(description) or _parts_of(description)[0] == "ssl" else "http"


def _inherited_endpoint(parts: dict[str, str], reactor: Any) -> IStreamServerEndpoint:
    try:
        found = systemd_sockets.inherited_socket(parts)
    except ValueError as error:
        raise EndpointError(str(error)) from None
    return cast(IStreamServerEndpoint, AdoptedStreamServerEndpoint(reactor, *found))


def _for_twisted(description: str) -> str:
    kind, separator, rest = description.partition(":")
    return f"tcp{separator}{rest}" if kind == TLS else description


def is_any_port(description: str) -> bool:
    """Whether a string that was found good stands for any free port, another one each time."""
    kind, parts = _parts_of(description)
    return kind in _PORTS and int(parts["port"]) == 0


def _parts_of(description: str) -> tuple[str, dict[str, str]]:
    kind, *rest = _PARTS.split(description)
    parts: dict[str, str] = {}
    # What has no name is taken by its place, as Twisted does.
    names = iter({"unix": ("address",), "ssl": ("port",), systemd_sockets.KIND: ()}.get(kind, _TCP_PARTS))
    for part in rest:
        name, separator, value = part.partition("=")
        if separator:
            parts[name] = value.replace("\\:", ":")
        elif part or kind != systemd_sockets.KIND:
            parts[next(names, "")] = part.replace("\\:", ":")
    return kind, parts


def _check_key_files(description: str, parts: dict[str, str]) -> None:
    # Twisted would wait until somebody writes into a pipe.
    for name in ("privateKey", "certKey"):
        if name in parts:
            try:
                read_small_file(Path(parts[name]), CONFIG_MAX)
            except OSError as error:
                raise EndpointError(f"{description!r}: {error.strerror}: {parts[name]}") from None


def _number(description: str, parts: dict[str, str], name: str) -> int:
    try:
        return int(parts.get(name, "0"))
    except ValueError:
        raise _no_endpoint(description, f"{name} is not a number") from None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _no_endpoint(description: str, why: str) -> EndpointError:
    return EndpointError(
        f"{description!r} is not a Twisted endpoint string, such as tcp:5000:interface=127.0.0.1 ({why})"
    )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is certainly this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
