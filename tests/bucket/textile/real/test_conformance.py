"""The OCI conformance program against a daemon whose storage is a real bucket daemon.

The private bucket is one of folded paths.
"""

from pathlib import Path

import pytest

from tests.clients.test_conformance import check_conformance
from tests.daemon_process import DaemonProcess

from .backend import unique
from .servers import TextileServer

SECONDS = 600.0  # a busy machine has needed 200 for the private one


@pytest.mark.parametrize("encrypted", ["no", "yes"], ids=["public", "private"])
def test_conformance(encrypted: str, buckd: TextileServer, tmp_path: Path) -> None:
    section = {"host": buckd.url, "path": str(tmp_path / "state"), "thread": unique(), "encrypted": encrypted}
    with DaemonProcess(tmp_path, {"registry": {"backend": "textile"}, "textile": section}) as daemon:
        check_conformance(daemon.host, tmp_path, SECONDS)
