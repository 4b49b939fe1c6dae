"""What all tests share."""

import gc
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from hypothesis import settings
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from . import fork_server, in_memory
from .full import FULL, examples
from .marks import skip_what_is_not_sampled
from .web.served import Serve, Served

# How long an example takes says something of the machine and nothing of the code.
settings.register_profile("any machine", deadline=None, max_examples=examples(20, 100))
settings.load_profile("any machine")

if not FULL:
    fork_server.use()
    in_memory.use()

BEGUN_FIRST = (
    "clients",
    "registry/test_kill.py",
    "registry/test_converting.py",
    "cli",
    "registry/upkeep/test_collector.py",
    "app/test_packaging.py",
    "web/test_memory.py",
    "web/pages/test_browser.py",
    "bucket/textile/test_commands_run.py",
    "bucket/textile/test_backend_contract.py",
    "web/test_reactor.py",
    "web/distribution/test_manifests.py",
    "hostile",
    "bench",
    "docs/test_commands.py",
    "bucket/kubo/test_register_model.py",
    "bucket/textile/test_scale.py",
    "bucket/space",
    "registry/test_reactor.py",
    "test_runs.py",
)
"""Files and folders that take longest: where workers share the files, none is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The same order for all workers; within a file it stays as it is."""
    skip_what_is_not_sampled(items)
    here = Path(__file__).parent
    ranks: dict[Path, int] = {}
    for item in items:
        if item.path not in ranks:
            among = {item.path, *item.path.parents}
            ranks[item.path] = next(
                (rank for rank, name in enumerate(BEGUN_FIRST) if here / name in among), len(BEGUN_FIRST)
            )
    items.sort(key=lambda item: ranks[item.path])


def pytest_collection_finish() -> None:
    """What has been loaded stays: Python's garbage collector need not look through it again and again."""
    gc.freeze()


@pytest.fixture
def log() -> Iterator[list[LogEvent]]:
    """What is logged during the test."""
    events: list[LogEvent] = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


@pytest.fixture
def clean_log(log: list[LogEvent]) -> Iterator[list[LogEvent]]:
    """What is logged during the test; at its end, nothing of it may be a traceback."""
    yield log
    tracebacks = [formatEvent(event) + event["log_failure"].getTraceback() for event in log if "log_failure" in event]
    assert not tracebacks, "\n".join(tracebacks)
    assert not [formatEvent(event) for event in log if event.get("log_level") == LogLevel.critical]


async def _serving(where: Path) -> AsyncIterator[Serve]:
    running: list[Served] = []

    async def start(**options: Mapping[str, object]) -> Served:
        directory = where / str(len(running))
        directory.mkdir()
        served = Served(directory, options)
        running.append(served)
        await served.start()
        return served

    yield start
    for served in running:
        await served.stop()


@pytest_twisted.async_yield_fixture()
async def serve(tmp_path: Path, clean_log: list[LogEvent]) -> AsyncIterator[Serve]:
    """Starts daemons: ``await serve(registry={"idle_timeout": "1s"})``. Each is stopped at the end."""
    async for start in _serving(tmp_path):
        yield start


@pytest_twisted.async_yield_fixture(scope="module")
async def serve_all(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serve]:
    """As `serve`, for daemons that several tests of a module share: who uses one uses ``clean_log`` too."""
    async for start in _serving(tmp_path_factory.mktemp("served")):
        yield start


@pytest_twisted.async_yield_fixture()
async def registry(serve: Serve) -> AsyncIterator[Served]:
    """A daemon with the defaults."""
    yield await serve()
