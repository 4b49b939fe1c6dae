"""Telling systemd what the daemon is at (sd_notify(3)).

The protocol is one datagram to the socket named in the environment. The packages for it on PyPI are either
unmaintained or bindings to a C library that is not everywhere.
"""

import os
import socket

from twisted.logger import Logger

_log = Logger()


def notify(state: str) -> None:
    """Send a state such as ``READY=1``; without a service manager that listens, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            channel.connect(address)
            channel.sendall(state.encode())
    except OSError as error:
        _log.warn("Could not tell the service manager {state}: {error}", state=state, error=error)
