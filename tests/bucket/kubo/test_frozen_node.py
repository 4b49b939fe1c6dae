"""A node that hangs, with its port open: everybody who asks learns that within a bounded time."""

import http.client
import os
import signal
import time
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess

from .node import KuboNode, require_ipfs

PATIENCE = 12.0  # seconds; readiness has five of them


def ask(daemon: DaemonProcess, target: str, accept: str = "*/*") -> tuple[int, str]:
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=PATIENCE)
    try:
        connection.request("GET", target, headers={"Accept": accept})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
        assert time.monotonic() - began < PATIENCE, target


@pytest.fixture
def node(tmp_path: Path) -> KuboNode:
    require_ipfs()
    return KuboNode(tmp_path)


def test_a_node_that_hangs(tmp_path: Path, node: KuboNode) -> None:
    (tmp_path / "daemon").mkdir()
    section = {"api": node.url, "directory": str(tmp_path / "daemon" / "store"), "network_timeout": "60s"}
    options = {"registry": {"backend": "kubo"}, "kubo": section, "metrics": {"enabled": "yes"}}
    node.start()
    try:
        with DaemonProcess(tmp_path / "daemon", options) as daemon:
            assert ask(daemon, "/readyz")[0] == 200
            os.kill(node.pid, signal.SIGSTOP)
            time.sleep(1.1)  # for so long it is remembered that it answered
            assert ask(daemon, "/readyz")[0] == 503
            assert ask(daemon, "/livez")[0] == 200
            assert 'ipfsreg_backend_up{backend="kubo"} 0.0' in ask(daemon, "/metrics")[1]
            status, page = ask(daemon, "/status", "text/html")
            assert status == 200
            assert "did not answer within" in page
            os.kill(node.pid, signal.SIGCONT)
            end = time.monotonic() + PATIENCE
            while ask(daemon, "/readyz")[0] != 200:
                assert time.monotonic() < end
    finally:
        os.kill(node.pid, signal.SIGCONT)
        node.stop()
