"""What keeps a daemon from starting is what `ipfsreg check` says, and neither leaves anything behind."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from click.testing import CliRunner

from ipfsreg.cli.main import main
from tests.app.test_daemon import fails
from tests.web.served import LOCAL, Serve

HERE = "{here}"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """A directory with strange things in it."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "dangling").symlink_to("/nowhere/at/all")
    (here / "ring").symlink_to("ring")
    (here / "file").write_text("")
    os.mkfifo(here / "pipe")
    for name, strange in (("locked-by-a-directory", "lock"), ("no-bucket", "drafts")):
        (here / name / strange).mkdir(parents=True)
    (here / "garbage").mkdir()
    (here / "garbage" / "peer-id").write_text("garbage")
    (here / "linked").mkdir()
    (here / "linked" / "lock").symlink_to("/nowhere/at/all")
    before = everything(here)
    yield here
    assert everything(here) == before


def everything(directory: Path) -> set[str]:
    return {str(each) for each in directory.rglob("*")}


PATHS = {
    "/proc/ipfsreg": "nothing can be made in /proc",
    "/proc/self/fd/x": "nothing can be made in /proc/self/fd",
    "{here}/dangling": "{here}/dangling is a link to /nowhere/at/all, which is not there",
    "{here}/dangling/below": "{here}/dangling is a link to /nowhere/at/all, which is not there",
    "{here}/ring": "{here}/ring is a link to ring, which is not there",
    "{here}/file": "{here}/file is not a directory",
    "{here}/file/below": "{here}/file is not a directory",
    "{here}/pipe": "{here}/pipe is not a directory",
    "/dev/null": "/dev/null is not a directory",
    "{here}/locked-by-a-directory": "{here}/locked-by-a-directory/lock is not a file",
    "{here}/linked": "{here}/linked/lock is not a file",
    "{here}/no-bucket": "{here}/no-bucket/bucket is not the bucket that was there: its file .bucket is missing",
    "{here}/garbage": "{here}/garbage/peer-id holds no peer ID: remove it, and the daemon makes a new one",
}

ENDPOINTS = {
    "tcp:0:interface=no.such.interface.test": "",
    "tcp:0:interface=192.0.2.1": "Cannot assign requested address",
    "tcp6:0:interface=2001\\:db8\\:\\:1": "Cannot assign requested address",
    "tcp:0:interface=a..b": "",
    "unix:{here}/file": "{here}/file is there already, and is no socket",
    "unix:/proc/x.sock": "nothing can be made in /proc",
}


async def both_say(tmp_path: Path, listen: str, path: str) -> str:
    """What the daemon and the command say, which is the same."""
    said = await fails(tmp_path / "daemon", registry={"listen": listen}, auth={"insecure": "yes"}, local={"path": path})
    file = tmp_path / "daemon" / "ipfsreg.ini"
    checked = CliRunner().invoke(main, ["check", "--config", str(file)])
    assert (checked.exit_code, checked.stdout) == (2, "")
    assert checked.stderr == f"ipfsreg: {said}\n"
    return said.removeprefix(f"{file}: ")


@pytest.mark.parametrize("path", PATHS)
@pytest_twisted.ensureDeferred
async def test_directories(tmp_path: Path, here: Path, path: str) -> None:
    said = await both_say(tmp_path, LOCAL, path.replace(HERE, str(here)))
    assert said.startswith(f"[local] path: {PATHS[path].replace(HERE, str(here))}")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest_twisted.ensureDeferred
async def test_endpoints(tmp_path: Path, here: Path, endpoint: str) -> None:
    listen = endpoint.replace(HERE, str(here))
    said = await both_say(tmp_path, f"{LOCAL}, {listen}", str(tmp_path / "store"))
    assert said.startswith(f"[registry] listen: {listen}: {ENDPOINTS[endpoint].replace(HERE, str(here))}")
    assert not (tmp_path / "store").exists()


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_runs_is_no_problem(serve: Serve, tmp_path: Path) -> None:
    """Its ports are in use, and its directory is locked."""
    registry = await serve(registry={"listen": f"{LOCAL}, unix:{tmp_path}/registry.sock"})
    file = tmp_path / "check.ini"
    listen = f"tcp:{registry.port}:interface=127.0.0.1, unix:{tmp_path}/registry.sock"
    file.write_text(f"[auth]\ninsecure = yes\n[registry]\nlisten = {listen}\n[local]\npath = {registry.store}\n")
    assert CliRunner().invoke(main, ["check", "--config", str(file)]).output == f"OK: {file}\n"
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(f"{tmp_path}/registry.sock")
