"""Old content after a rotation, in a bucket on a node that another daemon writes to."""

import os
from pathlib import Path

import pytest_twisted
from twisted.logger import LogEvent

from ipfsreg.encryption.documents import Role
from tests.bucket.kubo.backend import Backend, unique_folder
from tests.bucket.kubo.conftest import node
from tests.bucket.kubo.node import KuboNode

from .test_rewrap import FILES, Side

__all__ = ["node"]


@pytest_twisted.ensureDeferred
async def test_what_another_daemon_pushes_meanwhile_stays(
    node: KuboNode, tmp_path: Path, clean_log: list[LogEvent]
) -> None:
    folder, large = unique_folder(), os.urandom(1_500_000)
    backends = [Backend(node.url, tmp_path / f"backend-{name}", path=folder) for name in ("anna", "bert")]
    for backend in backends:
        await backend.start()
    try:
        anna, bert = (
            Side(name, tmp_path, backend.workers, backend.opened)
            for name, backend in zip(("anna", "bert"), backends, strict=True)
        )
        await anna.team.open()
        await anna.team.add(bert.public, "bert", Role.WRITER)
        for path, content in FILES.items():
            await bert.bucket.put(path, content)
        await bert.put_large("blobs/sha256/bb/large", large)
        await anna.team.rotate()
        await bert.team.refresh()
        # Just before a file that was made anew is stored, another daemon replaces it.
        replace, tag = anna.backend.replace, "repositories/box/_tags/1"
        assert replace is not None
        moved: list[str] = []

        async def late(path: str, cid: str, content: bytes | Path) -> bool:
            if not moved:
                moved.append(path)
                await bert.bucket.put(tag, b"sha256:two")
            assert replace is not None
            return await replace(path, cid, content)

        sealing = anna.with_replace(late)
        await sealing.seal_again(tag, reencrypt=False)
        assert moved
        assert await anna.bucket.get(tag, 100) == b"sha256:two"
        found = await anna.rewrapping.run()
        assert (found.files, found.changed, found.damaged) == (4, 3, [])
        assert (await anna.rewrapping.run()).done
        for side in (anna, bert):
            assert await side.bucket.get(tag, 100) == b"sha256:two"
            assert await side.read("blobs/sha256/bb/large") == large
    finally:
        for backend in backends:
            await backend.stop()
