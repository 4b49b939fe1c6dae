"""The real servers, one of each kind for all tests of a module."""

from collections.abc import Iterator

import pytest

from .hub import Hub, running_hub
from .servers import TextileServer, running_server


@pytest.fixture(scope="module")
def buckd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextileServer]:
    """A bucket daemon."""
    with running_server(tmp_path_factory.mktemp("buckd"), "buckd") as server:
        yield server


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub."""
    with running_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub
