"""The OCI conformance program against a daemon whose storage is a real bucket daemon."""

from collections.abc import Iterator

import pytest

from tests.clients.test_conformance import test_every_group_passes
from tests.daemon_process import DaemonProcess

from .backend import unique
from .servers import TextileServer

__all__ = ["test_every_group_passes"]


@pytest.fixture(params=["public", "private"])
def daemon(
    request: pytest.FixtureRequest, buckd: TextileServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DaemonProcess]:
    """A daemon with an empty bucket."""
    directory = tmp_path_factory.mktemp("daemon")
    section = {
        "host": buckd.url,
        "path": str(directory / "state"),
        "thread": unique(),
        "encrypted": str(request.param == "private"),
    }
    with DaemonProcess(directory, {"registry": {"backend": "textile"}, "textile": section}) as process:
        yield process
