"""What the tests of the registry share."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from .known import WITH_DAG
from .place import Place

Open = Callable[..., Awaitable[Place]]


@pytest_twisted.async_yield_fixture()
async def open_place(tmp_path: Path) -> AsyncIterator[Open]:
    """Opens places: ``await open_place(max_uploads=1)``, by default in the test's own directory."""
    places: list[Place] = []

    async def open_(directory: Path = tmp_path, **limits: Any) -> Place:
        place = Place(directory, **limits)
        places.append(place)
        return await place.start()

    yield open_
    for place in places:
        await place.stop()


@pytest_twisted.async_yield_fixture()
async def place(open_place: Open) -> AsyncIterator[Place]:
    """A registry with the usual limits."""
    yield await open_place()


@pytest.fixture(scope="module")
def kept_dags() -> Iterator[None]:
    """In a `World` one of the blobs has a DAG that is kept, though it is short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ipfsreg.registry.content.dags.is_one_block", lambda digest, size: digest != WITH_DAG)
        yield


@pytest.fixture
def log() -> Iterator[list[LogEvent]]:
    """What is logged during the test."""
    events: list[LogEvent] = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)
