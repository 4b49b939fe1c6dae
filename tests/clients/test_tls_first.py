"""What every client does first with a registry it does not know: try TLS."""

import socket
import ssl
import time

import pytest

from tests.daemon_process import DaemonProcess


def test_tls_hello_is_refused_at_once(daemon: DaemonProcess) -> None:
    """In plain HTTP, as containerd wants it to go on without TLS; a silent daemon costs 10 s a time."""
    context = ssl.create_default_context()
    start = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", daemon.port), timeout=5) as connection,
        pytest.raises(ssl.SSLError, match=r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE"),
    ):
        context.wrap_socket(connection, server_hostname="localhost")
    assert time.monotonic() - start < 2
