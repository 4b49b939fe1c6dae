"""pytest fixtures: import them into a test module, or name this module in ``pytest_plugins``."""

from collections.abc import AsyncIterator

import pytest_twisted

from .server import SpaceDouble


@pytest_twisted.async_yield_fixture()
async def space_daemon() -> AsyncIterator[SpaceDouble]:
    """A daemon that listens, with a token, a key pair, and an empty bucket ``ddocker``."""
    double = SpaceDouble().start()
    double.add_bucket()
    yield double
    await double.stop()


@pytest_twisted.async_yield_fixture()
async def new_space_daemon() -> AsyncIterator[SpaceDouble]:
    """A daemon that listens, as after its installation: no token, no key pair."""
    double = SpaceDouble(set_up=False).start()
    yield double
    await double.stop()
