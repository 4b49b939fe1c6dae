"""One node for each module."""

from collections.abc import Iterator

import pytest

from .node import KuboNode, connect, running_node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    """A real node that runs while the module's tests do."""
    with running_node(tmp_path_factory.mktemp("kubo")) as node:
        yield node


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KuboNode, KuboNode]]:
    """Two nodes with a connection between them and to nobody else."""
    directory = tmp_path_factory.mktemp("nodes")
    routing = {"Routing.Type": "dht"}  # of these two alone
    with (
        running_node(directory / "one", routing, online=True) as one,
        running_node(directory / "two", routing, online=True) as two,
    ):
        connect(one, two)
        yield one, two
