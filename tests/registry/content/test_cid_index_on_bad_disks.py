"""The index of CIDs is a convenience: a disk that has no room for it, or fails, keeps nothing else from working."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import LogEvent, LogLevel, formatEvent

from ipfsreg.registry.content import cid_table
from ipfsreg.registry.names import Repository
from tests.registry.place import Place

APP = Repository("app")


@pytest_twisted.ensureDeferred
async def test_a_start_on_a_full_disk(place: Place, monkeypatch: pytest.MonkeyPatch, log: list[LogEvent]) -> None:
    """There is none until it can be opened."""
    await place.push_image(APP, ["t"], b"config")
    open_file = cid_table._open_file

    def full(path: Path) -> Any:
        if path.name == "cids.sqlite":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
            raise error
        return open_file(path)

    before = (place.directory / "cids.sqlite").stat().st_ino
    monkeypatch.setattr(cid_table, "_open_file", full)
    await place.restart()
    assert (place.directory / "cids.sqlite").stat().st_ino == before  # it may be whole
    assert [
        each for each in log if "disk I/O error" in (formatEvent(each) or "") and each["log_level"] == LogLevel.error
    ]
    assert not (await place.registry.collector.run()).skipped
    await place.push_image(APP, ["u"], b"config")
    monkeypatch.undo()
    await place.registry.cid_refresh.run_if_needed()
    assert place.registry.dags.index.complete
