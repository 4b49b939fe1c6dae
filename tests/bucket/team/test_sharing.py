"""Two members' daemons on one bucket of each kind that others keep."""

from pathlib import Path

import pytest_twisted
from twisted.logger import LogEvent

from tests.bucket.running import listening
from tests.bucket.space.backend import options_for
from tests.bucket.space.double import SpaceDouble
from tests.bucket.textile.double import TextileDouble
from tests.bucket.textile.registry import configuration

from .daemons import Member, share


def assert_nothing_is_plain(files: dict[str, bytes], secrets: list[bytes]) -> None:
    assert len(files) > 10
    for path, content in files.items():
        for secret in secrets:
            assert secret not in path.encode(), path
            assert secret not in content, path


@pytest_twisted.ensureDeferred
async def test_on_textile(tmp_path: Path, clean_log: list[LogEvent]) -> None:
    async with listening(TextileDouble(hub=True)) as double:
        key = double.accounts.add_key()
        sections = configuration(double, key, tmp_path, {})["textile"]
        anna, bert = (
            Member(tmp_path, name, "textile", {**sections, "path": tmp_path / name / "state"})
            for name in ("anna", "bert")
        )
        secrets = await share(anna, bert)
        files = {path: double.read("ipfsreg", path) for path in double.files("ipfsreg")}
        assert_nothing_is_plain(files, secrets)


@pytest_twisted.ensureDeferred
async def test_on_space(tmp_path: Path, clean_log: list[LogEvent]) -> None:
    async with listening(SpaceDouble()) as double:
        anna, bert = (
            Member(tmp_path, name, "space", options_for(double, tmp_path / name / "state")) for name in ("anna", "bert")
        )
        await share(anna, bert)
