"""A team on a real bucket daemon: its members share an encrypted bucket beside what the daemon does itself."""

from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.bucket.team.daemons import Member, share

from .backend import unique
from .servers import TextileServer


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
@pytest_twisted.ensureDeferred
async def test_two_members_share_a_bucket(buckd: TextileServer, tmp_path: Path, private: bool) -> None:
    section: dict[str, Any] = {"host": buckd.url, "thread": unique(), "encrypted": private}
    anna, bert = (
        Member(tmp_path, name, "textile", {**section, "path": tmp_path / name / "state"}) for name in ("anna", "bert")
    )
    await share(anna, bert)
