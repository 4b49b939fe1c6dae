"""Fixtures for the tests of the traps: doubles, and backends on them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from tests.bucket.running import listening, running

from .backend import Backend
from .double import TextileDouble


@pytest_twisted.async_yield_fixture()
async def hub() -> AsyncIterator[TextileDouble]:
    async with listening(TextileDouble(hub=True)) as double:
        yield double


@pytest_twisted.async_yield_fixture()
async def buckd() -> AsyncIterator[TextileDouble]:
    async with listening(TextileDouble(hub=False)) as double:
        yield double


@pytest_twisted.async_yield_fixture()
async def on_hub(hub: TextileDouble, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(hub, tmp_path / "daemon", hub.accounts.add_key())) as backend:
        yield backend


@pytest_twisted.async_yield_fixture()
async def on_buckd(buckd: TextileDouble, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(buckd, tmp_path / "daemon")) as backend:
        yield backend
