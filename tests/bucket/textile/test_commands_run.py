"""The commands of the Textile backend as users run them: the program itself, with and without a daemon."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from ipfsreg.bucket.textile.server.identity import Identity
from tests import fork_server
from tests.bucket.contract import spawn
from tests.bucket.running import listening, pause

from .double import Limits, TextileDouble
from .registry import TextileServed, check_no_secrets

PROGRAM = str(Path(sys.executable).with_name("ipfsreg"))
MATE = Identity.from_seed(b"\x07" * 32)
SUCCESS = bucketsd_pb2.ARCHIVE_STATUS_SUCCESS


class Ran(NamedTuple):
    status: int
    output: str
    errors: str


class Place:
    """A hub with a Powergate, and a configuration."""

    def __init__(self, double: TextileDouble, directory: Path, **more: object) -> None:
        self.double = double
        self.daemon = TextileServed(directory, double, double.accounts.add_key() if double.hub else None, **more)
        self.config = directory / "ipfsreg.ini"

    async def run(self, *arguments: str) -> Ran:
        command = [*arguments, "--config", str(self.config)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.config.parent)}
        ran = await deferToThread(fork_server.run, [PROGRAM, *command], cwd=self.config.parent, env=environment)
        check_no_secrets(self.double, ran.stdout + ran.stderr)
        assert "Traceback" not in ran.stdout + ran.stderr, ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)


@pytest_twisted.async_yield_fixture(params=[False, True], ids=["alone", "beside the daemon"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        limits = Limits(archive_smallest=1)
        double = await stack.enter_async_context(listening(TextileDouble(powergate=True, limits=limits)))
        place = Place(double, tmp_path / "daemon")
        await place.daemon.start()
        await place.daemon.push_image("1", "team/app")
        if not request.param:
            await place.daemon.stop()
        yield place
        if request.param:
            await place.daemon.stop()


@pytest_twisted.ensureDeferred
async def test_archives(place: Place) -> None:
    assert await place.run("archive", "start") == (0, "The archive was started.\n", "")
    watching = spawn(place.run("archive", "watch"))
    while not place.double.calls.of("ArchiveWatch"):
        await pause(0.02)
    await pause(0.05)
    place.double.set_archive_status("ipfsreg", SUCCESS)
    watched = await watching
    assert isinstance(watched, Ran)
    assert (watched.status, watched.errors) == (0, "")
    assert watched.output.endswith("SUCCESS\n")


@pytest_twisted.ensureDeferred
async def test_roles(place: Place) -> None:
    granted = await place.run("share", "grant", "--repository", "team/app", MATE.public_key, "writer")
    assert (granted.status, granted.errors) == (0, "")
    assert f"writer  {MATE.public_key}\n" in granted.output
    missing = await place.run("share", "grant", "--repository", "none", MATE.public_key, "writer")
    assert (missing.status, missing.output) == (1, "")
    assert missing.errors.count("\n") == 1


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside the daemon"])
@pytest_twisted.ensureDeferred
async def test_an_encrypted_bucket_is_not_shared(beside: bool, tmp_path: Path) -> None:
    """A real server would make it unreadable for everybody: docs/protocols/textile.md, "Roles"."""
    async with listening(TextileDouble()) as double:
        place = Place(double, tmp_path / "daemon", encrypted="yes")
        await place.daemon.start()
        try:
            content = await place.daemon.push_image("1")
            if not beside:
                await place.daemon.stop()
            for arguments in (("grant", MATE.public_key, "writer"), ("revoke", MATE.public_key)):
                refused = await place.run("share", *arguments)
                assert (refused.status, refused.output) == (1, "")
                assert refused.errors.count("\n") == 1
                assert "is encrypted" in refused.errors
            if beside:
                assert (await place.daemon.ask("GET", "/v2/box/manifests/1")).content == content
        finally:
            if beside:
                await place.daemon.stop()
        assert not double.calls.of("PushPathAccessRoles")


@pytest_twisted.ensureDeferred
async def test_a_server_without_powergate_gives_one_line(tmp_path: Path) -> None:
    async with listening(TextileDouble(powergate=False)) as double:
        place = Place(double, tmp_path / "daemon")
        await place.daemon.start()
        await place.daemon.push_image("1")
        await place.daemon.stop()
        refused = await place.run("archive", "start")
    assert refused.status == 1
    assert refused.output.count("\n") == 1
    assert "no Powergate" in refused.output
