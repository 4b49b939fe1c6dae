"""Daemons of the members of a team, inside the test's process, on any backend."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from ipfsreg.app.control.events import Listing, Long
from ipfsreg.app.control.tasks import tasks_of
from ipfsreg.bucket.team.key_file import KeyFile
from ipfsreg.encryption.member_key import MemberKey
from tests.bucket.running import pause, reactor
from tests.web.client import Answer
from tests.web.served import Served, digest_of

PATIENCE = 60.0


class Member(Served):
    """A daemon of one member. ``sections`` are those of the backend, whose name is ``backend``."""

    def __init__(self, directory: Path, name: str, backend: str, section: Mapping[str, object]) -> None:
        (home := directory / name).mkdir()
        key = MemberKey.generate()
        self.public = key.public.hex()
        KeyFile(home / "member.key").save(key)
        options: dict[str, Mapping[str, object]] = {
            "registry": {"backend": backend},
            backend: section,
            "encryption": {"enabled": "yes", "key": home / "member.key", "refresh": "1s"},
        }
        super().__init__(home, options)

    async def until(self, target: str, status: int, method: str = "GET") -> Answer:
        """Ask until it answers with a status."""
        end = time.monotonic() + PATIENCE
        while (answer := await self.ask(method, target)).status != status:
            assert time.monotonic() < end, (answer.status, answer.content)
            await pause(0.1)
        return answer

    async def command(self, task: str, **arguments: str) -> dict[str, object]:
        """What the command asks of the daemon."""
        parts = self.daemon.parts
        work = tasks_of(parts.registry, parts.backend, reactor)[task]
        assert not isinstance(work, Long | Listing)
        return await work(arguments)


async def share(anna: Member, bert: Member) -> list[bytes]:
    """Two members share a bucket, until one is removed. Answers what must be nowhere in it."""
    layer, later, last = os.urandom(700_000), os.urandom(300_000), os.urandom(200_000)
    await anna.start()
    try:
        await anna.until("/v2/_catalog", 200)
        first = await anna.push_image("v1.2.3", "secret/app", [layer])
        await bert.start()
        await bert.until("/v2/_catalog", 503)
        await anna.command("team-add", key=bert.public, name="bert", role="writer")
        assert (await bert.until("/v2/secret/app/manifests/v1.2.3", 200)).content == first
        assert (await bert.until(f"/v2/secret/app/blobs/{digest_of(layer)}", 200)).content == layer
        second = await bert.push_image("v2", "secret/app", [layer, later])
        assert (await anna.until("/v2/secret/app/manifests/v2", 200)).content == second
        assert (await anna.until(f"/v2/secret/app/blobs/{digest_of(later)}", 200)).content == later
        await anna.command("team-remove", who="bert")
        # What was stored with the old key is his still; of what is new he reads nothing, and he pushes nothing.
        assert (await bert.until(f"/v2/secret/app/blobs/{digest_of(later)}", 200)).content == later
        await bert.until("/v2/secret/app/blobs/uploads/", 405, "POST")
        third = await anna.push_image("v3", "secret/app", [last])
        assert (await anna.until("/v2/secret/app/manifests/v3", 200)).content == third
        assert (await bert.until("/v2/secret/app/manifests/v3", 503)).content
        assert (await bert.ask("GET", f"/v2/secret/app/blobs/{digest_of(last)}")).status != 200
        return [b"secret", b"v1.2.3", digest_of(layer)[7:].encode(), first, layer[:64], later[:64], last[:64]]
    finally:
        for member in (anna, bert):
            await member.stop()
