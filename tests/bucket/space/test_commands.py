"""`ipfsreg space backup`, beside a running daemon and alone; and what the environment of the original program means."""

from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from ipfsreg.app.configuration import load_config
from ipfsreg.bucket.space.options import SpaceOptions
from ipfsreg.config.errors import ConfigError
from tests.daemon_process import DaemonProcess

from .backend import options_for
from .double import Patience, SpaceDouble
from .test_setup import ipfsreg

pytest_plugins = ["tests.bucket.space.double.fixtures"]


def process(double: SpaceDouble, directory: Path) -> DaemonProcess:
    section = {name: str(value) for name, value in options_for(double, directory / "state").items()}
    return DaemonProcess(directory, {"registry": {"backend": "space"}, "space": section})


@pytest_twisted.ensureDeferred
async def test_backup(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    daemon = process(space_daemon, tmp_path)
    space_daemon.put_files({"a/1": b"1", "a/2": b"2", "b": b"3"})

    async def backup(what: str) -> str:
        result = await ipfsreg(tmp_path, "space", "backup", what, "--config", daemon.config_file)
        assert result.returncode == 0, result.stderr
        return result.stdout

    await deferToThread(daemon.start)
    try:
        assert "backup is on" in await backup("on")
        assert space_daemon.record().backup
        # What was there before is not on the hub, as only the hub's own word says; what comes goes there.
        assert (await backup("status")).startswith("0 of 4 files are on the hub, 0 on their way.\n")
        assert "how much storage" in await backup("status")
        assert len(space_daemon.calls.of("GetUsageInfo")) == 2
    finally:
        await deferToThread(daemon.stop)
    assert "backup is off" in await backup("off")  # without the daemon
    assert not space_daemon.record().backup


@pytest_twisted.ensureDeferred
async def test_backup_without_a_hub(tmp_path: Path) -> None:
    double = SpaceDouble(patience=Patience(hub=0.1)).start()
    try:
        double.world.hub = False
        daemon = process(double, tmp_path)
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "state" / "lock").touch()  # where a daemon has been, so that it is asked
        result = await ipfsreg(tmp_path, "space", "backup", "on", "--config", daemon.config_file)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert "does not reach its hub" in result.stderr
        assert double.token not in result.stderr
    finally:
        await double.stop()


def test_the_token_of_the_original_program(tmp_path: Path) -> None:
    config = load_config(None, reactor, {"DAEMON_TOKEN": "key.Word-1", "PORT": "5001"})
    assert isinstance(config.backend, SpaceOptions)
    assert config.backend.app_token() == "key.Word-1"
    assert config.backend.bucket == "ddocker"
    assert "Word-1" not in repr(config)
    # With a hub's variables it is a hub; with a file, what that says.
    assert load_config(None, reactor, {"DAEMON_TOKEN": "a.b", "HUB_KEY": "bkey"}).registry.backend == "textile"
    file, token = tmp_path / "x.ini", tmp_path / "token"
    file.write_text(f"[registry]\nbackend = space\n[space]\ntoken_file = {token}\n")
    token.write_text("of.file\n")
    given = load_config(file, reactor, {"DAEMON_TOKEN": "of.environment"})
    assert isinstance(given.backend, SpaceOptions)
    assert given.backend.app_token() == "of.file"
    token.unlink()
    with pytest.raises(ConfigError, match="no token of the Space Daemon"):
        load_config(file, reactor, {"DAEMON_TOKEN": "of.environment"})
    file.write_text("[registry]\nbackend = space\n")
    given = load_config(file, reactor, {"DAEMON_TOKEN": "of.environment"})
    assert isinstance(given.backend, SpaceOptions)
    assert given.backend.app_token() == "of.environment"


@pytest.mark.parametrize("timeout", ["60s", "1s"])
def test_a_timeout_within_the_wait_of_a_minute(timeout: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="greater than 60"):
        SpaceOptions.model_validate({"timeout": timeout, "path": tmp_path})
