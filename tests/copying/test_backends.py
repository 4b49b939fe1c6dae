"""Copies between configurations on other backends: a hub that closes becomes a node's registry, and the other way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bucket.kubo.node import KuboNode, running_node
from tests.bucket.textile.real.backend import unique
from tests.bucket.textile.real.servers import TextileServer, running_server
from tests.daemon_process import DaemonProcess

from .collection import Http, make_collection
from .test_copy import copied


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    """A real Kubo node."""
    with running_node(tmp_path_factory.mktemp("kubo")) as node:
        yield node


@pytest.fixture(scope="module")
def buckd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextileServer]:
    """A real bucket daemon."""
    with running_server(tmp_path_factory.mktemp("buckd"), "buckd") as server:
        yield server


def on_kubo(directory: Path, node: KuboNode) -> DaemonProcess:
    """A configuration with a folder of its own on the node."""
    directory.mkdir()
    section = {"api": node.url, "directory": str(directory / "state"), "path": f"/{unique()}"}
    return DaemonProcess(directory, {"registry": {"backend": "kubo"}, "kubo": section})


def on_textile(directory: Path, server: TextileServer) -> DaemonProcess:
    """A configuration with a bucket of its own on the server."""
    directory.mkdir()
    section = {"host": server.url, "path": str(directory / "state"), "thread": unique()}
    return DaemonProcess(directory, {"registry": {"backend": "textile"}, "textile": section})


def test_from_a_textile_server_to_kubo_and_back(node: KuboNode, buckd: TextileServer, tmp_path: Path) -> None:
    """The first daemon runs while it is copied from, the others do not: a command needs none."""
    collection = make_collection()
    with on_textile(tmp_path / "textile", buckd) as textile:
        Http(textile.port).push(collection)
        kubo = on_kubo(tmp_path / "kubo", node)
        found = copied(tmp_path, textile.config_file, kubo.config_file)
        assert (found["images"], found["failed"]) == (5, 0)
    with kubo:
        Http(kubo.port).check(collection)
    back = on_textile(tmp_path / "back", buckd)
    copied(tmp_path, kubo.config_file, back.config_file)
    assert copied(tmp_path, kubo.config_file, back.config_file)["blobs"] == 0
    with back:
        Http(back.port).check(collection)
