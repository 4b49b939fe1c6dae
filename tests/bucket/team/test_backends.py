"""A team on the other backends: the documents are files like any."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.logger import LogEvent

from ipfsreg.bucket.team.seen import SeenFile
from ipfsreg.bucket.team.team import Own, Team
from ipfsreg.encryption.documents import Role
from tests.bucket.space.backend import SpaceStorage
from tests.bucket.space.double import SpaceDouble
from tests.bucket.storage import Storage
from tests.bucket.textile.backend import TextileStorage
from tests.bucket.textile.double import CURRENT, TextileDouble

from .people import AtOnce, key_of


@pytest_twisted.async_yield_fixture(params=["textile", "space"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    below: TextileStorage | SpaceStorage
    if request.param == "textile":
        below = TextileStorage(TextileDouble(hub=True, generation=CURRENT), tmp_path, cached=False)
        below.double.start()
    else:
        below = SpaceStorage(SpaceDouble().start(), tmp_path, cached=True)
    await below.reopened()
    yield below
    await below.close()


@pytest_twisted.ensureDeferred
async def test_a_team_shares_a_bucket(storage: Storage, tmp_path: Path, clean_log: list[LogEvent]) -> None:
    def team(name: str) -> Team:
        own = Own(lambda: key_of(name), SeenFile(tmp_path / f"{name}.json"), "layout-version")
        return Team(storage.bucket, own, AtOnce())

    anna, bert = team("anna"), team("bert")
    await anna.open()
    await anna.add(key_of("bert").public, "bert", Role.OWNER)
    await bert.open()
    assert bert.current().can_write
    await bert.add(key_of("carl").public, "carl", Role.READER)
    carl = team("carl")
    await carl.open()
    assert carl.current().content_keys == anna.current().content_keys
    await bert.remove(key_of("anna").public)
    await anna.refresh()
    assert not anna.current().can_write
    await carl.refresh()
    assert carl.current().generation == bert.current().generation > anna.current().generation
