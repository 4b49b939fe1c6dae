"""A daemon's first day: `ipfsreg space init`, in a process of its own and step by step."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from ipfsreg.bucket.errors import Refused, SetupError
from ipfsreg.bucket.private_file import PrivateFile
from ipfsreg.bucket.space.backend import make_space_client
from ipfsreg.bucket.space.options import SpaceOptions
from ipfsreg.bucket.space.setup import LostSecret, set_up
from tests import fork_server
from tests.bucket.running import reactor
from tests.daemon_process import program

from .double import Fault, SpaceDouble

pytest_plugins = ["tests.bucket.space.double.fixtures"]


async def ipfsreg(home: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program as a user runs it who has no configuration at all."""
    command = [program("ipfsreg"), *map(str, arguments)]
    known = {"HOME": str(home), "PATH": os.environ["PATH"], **environment}

    result: subprocess.CompletedProcess[str] = await deferToThread(fork_server.run, command, cwd=home, env=known)
    assert "Traceback" not in result.stderr
    return result


async def set_up_on(double: SpaceDouble, directory: Path, **more: object) -> Sequence[str]:
    options = SpaceOptions.model_validate(
        {"url": double.url, "token_file": directory / "token", "path": directory, **more}
    )
    return await set_up(options, lambda token: make_space_client(options, token, reactor))


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


@pytest_twisted.ensureDeferred
async def test_the_first_day(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    init = await ipfsreg(tmp_path, "space", "init", "--url", new_space_daemon.url)
    assert (init.returncode, init.stderr) == (0, "")
    file = tmp_path / ".config" / "ipfsreg" / "space-token"
    words = file.with_name("space-token-mnemonic")
    assert file.read_text() == f"{new_space_daemon.token}\n"
    assert words.read_text() == f"{new_space_daemon.account.pair.mnemonic}\n"
    assert (mode(file), mode(words), mode(file.parent)) == (0o600, 0o600, 0o700)
    assert new_space_daemon.account.public_key in init.stdout
    assert str(file) in init.stdout
    assert str(words) in init.stdout
    assert new_space_daemon.token not in init.stdout
    assert new_space_daemon.account.pair.mnemonic not in init.stdout
    # The token was stored, and the next call made with it.
    assert new_space_daemon.calls.methods() == [
        "InitializeMasterAppToken",
        "GetPublicKey",
        "GenerateKeyPair",
        "GetPublicKey",
    ]
    # What was made is found without a configuration.
    created = await ipfsreg(tmp_path, "space", "create", "--config", _config(tmp_path, new_space_daemon), "images")
    assert (created.returncode, created.stdout) == (0, "The Space Daemon has the bucket images.\n")
    assert new_space_daemon.bucket("images")


def _config(directory: Path, double: SpaceDouble) -> Path:
    file = directory / "space.ini"
    file.write_text(f"[registry]\nbackend = space\n[space]\nurl = {double.url}\npath = {directory / 'state'}\n")
    return file


@pytest_twisted.ensureDeferred
async def test_the_first_day_with_another_keyring(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    new_space_daemon.faults.other_keyring = True
    lines = await set_up_on(new_space_daemon, tmp_path)
    assert new_space_daemon.account.public_key in lines[-1]


@pytest_twisted.ensureDeferred
async def test_a_second_time_changes_nothing(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    await set_up_on(new_space_daemon, tmp_path)
    token, pair = new_space_daemon.token, new_space_daemon.account.pair
    files = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    lines = await set_up_on(new_space_daemon, tmp_path)
    assert any("already: it stays" in line for line in lines)
    assert (new_space_daemon.token, new_space_daemon.account.pair) == (token, pair)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == files
    assert len(new_space_daemon.calls.of("InitializeMasterAppToken")) == 1
    assert len(new_space_daemon.calls.of("GenerateKeyPair")) == 1


@pytest_twisted.ensureDeferred
async def test_a_daemon_whose_token_somebody_else_has(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    init = await ipfsreg(tmp_path, "space", "init", "--url", space_daemon.url)
    assert init.returncode == 1
    assert init.stderr.count("\n") == 1
    for what in ("has a token already", "DAEMON_TOKEN", ".config/ipfsreg/space-token", "keyring", "~/.fleek-space"):
        assert what in init.stderr
    assert list((tmp_path / ".config" / "ipfsreg").iterdir()) == []
    # As it says: with the token of the original program all is well.
    known = await ipfsreg(tmp_path, "space", "init", "--url", space_daemon.url, DAEMON_TOKEN=space_daemon.token)
    assert known.returncode == 0
    assert space_daemon.account.public_key in known.stdout
    wrong = await ipfsreg(tmp_path, "space", "init", "--url", space_daemon.url, DAEMON_TOKEN="wrong.token")
    assert wrong.returncode == 1
    assert "does not accept the token" in wrong.stderr
    assert "wrong.token" not in wrong.stderr


@pytest_twisted.ensureDeferred
async def test_the_token_is_stored_before_anything_else(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    fault = new_space_daemon.faults.refuse("GetPublicKey", 2, "keyring is locked")
    with pytest.raises(Exception, match="keyring is locked"):
        await set_up_on(new_space_daemon, tmp_path)
    assert (tmp_path / "token").read_text() == f"{new_space_daemon.token}\n"
    # And it goes on from there.
    new_space_daemon.faults.remove(fault)
    await set_up_on(new_space_daemon, tmp_path)
    assert new_space_daemon.account.pair


@pytest_twisted.ensureDeferred
async def test_without_a_place_for_the_token_none_is_asked_for(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="Not a directory"):
        await set_up_on(new_space_daemon, tmp_path / "file" / "below")
    (tmp_path / "token").mkdir()
    with pytest.raises(SetupError, match="cannot read token_file"):
        await set_up_on(new_space_daemon, tmp_path)
    assert new_space_daemon.calls.methods() == []
    assert new_space_daemon.world.token is None


@pytest_twisted.ensureDeferred
async def test_a_token_that_cannot_be_stored_after_all_is_told(
    new_space_daemon: SpaceDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: PrivateFile, text: str) -> None:
        raise SetupError("cannot write: No space left on device")

    monkeypatch.setattr(PrivateFile, "keep", full)
    with pytest.raises(LostSecret, match="Write this down now") as caught:
        await set_up_on(new_space_daemon, tmp_path)
    assert caught.value.secret == new_space_daemon.token
    assert new_space_daemon.token not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_words_of_another_key_pair_are_not_written_over(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    (tmp_path / "token-mnemonic").write_text("of another day")
    with pytest.raises(SetupError, match="never overwritten: move it elsewhere"):
        await set_up_on(new_space_daemon, tmp_path)
    assert new_space_daemon.world.account is None
    assert new_space_daemon.world.token is None
    assert (tmp_path / "token-mnemonic").read_text() == "of another day"


@pytest_twisted.ensureDeferred
async def test_somebody_makes_the_pair_at_the_same_time(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    text = "Error while executing GenerateKeyFromMnemonic. Key pair already exists."
    new_space_daemon.faults.refuse("GenerateKeyPair", 2, text, times=1)
    with pytest.raises(Refused, match="no key pair"):  # the other's is not there after all: said as it is
        await set_up_on(new_space_daemon, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["token"]


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_is_away(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    url = new_space_daemon.url
    await new_space_daemon.go_away()
    init = await ipfsreg(tmp_path, "space", "init", "--url", url)
    new_space_daemon.come_back()
    assert (init.returncode, init.stdout, init.stderr.count("\n")) == (1, "", 1)
    assert f"the Space Daemon at {url} did not answer" in init.stderr
    assert "run this again" in init.stderr
    assert new_space_daemon.world.token is None


@pytest.mark.parametrize("sent", [1, 20])
@pytest_twisted.ensureDeferred
async def test_a_token_that_is_lost_on_its_way(new_space_daemon: SpaceDouble, tmp_path: Path, sent: int) -> None:
    new_space_daemon.faults.add(Fault("InitializeMasterAppToken", drop_after_sent=sent))
    with pytest.raises(SetupError, match="lost") as caught:
        await set_up_on(new_space_daemon, tmp_path)
    for what in ("may have told its token", "~/.fleek-space", "keyring"):
        assert what in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "token").exists()
    assert new_space_daemon.world.token is not None


@pytest_twisted.ensureDeferred
async def test_words_that_are_lost_on_their_way_are_asked_for(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    new_space_daemon.faults.add(Fault("GenerateKeyPair", drop_after_sent=20))
    with pytest.raises(SetupError, match="run this again, which asks for its words"):
        await set_up_on(new_space_daemon, tmp_path)
    words = tmp_path / "token-mnemonic"
    assert not words.exists()
    pair = new_space_daemon.account.pair
    lines = await set_up_on(new_space_daemon, tmp_path)
    assert new_space_daemon.account.pair == pair
    assert (words.read_text(), mode(words)) == (f"{pair.mnemonic}\n", 0o600)
    assert any(str(words) in line for line in lines)
    assert not any(pair.mnemonic in line for line in lines)


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_does_not_tell_the_words(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    space_daemon.faults.refuse("GetStoredMnemonic", 2, "The specified item could not be found in the keyring")
    lines = await set_up_on(space_daemon, tmp_path, token=space_daemon.token)
    assert any("does not tell its words" in line for line in lines)
    assert not (tmp_path / "token-mnemonic").exists()


@pytest_twisted.ensureDeferred
async def test_a_daemon_begun_anew_beside_an_old_token(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of.before\n")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "token-mnemonic").write_text("of before")
    with pytest.raises(SetupError, match="move") as caught:
        await set_up_on(new_space_daemon, tmp_path)
    assert str(tmp_path / "token") in str(caught.value)
    assert str(tmp_path / "token-mnemonic") in str(caught.value)
    assert "of.before" not in str(caught.value)
    assert new_space_daemon.world.token is None


@pytest_twisted.ensureDeferred
async def test_usage(tmp_path: Path) -> None:
    init = await ipfsreg(tmp_path, "space", "init", "--url", "127.0.0.1:9998")
    assert init.returncode == 2
    assert "--url" in init.stderr


@pytest_twisted.ensureDeferred
async def test_a_configuration_without_a_token(tmp_path: Path) -> None:
    (tmp_path / "ipfsreg.ini").write_text("[registry]\nbackend = space\n")
    checked = await ipfsreg(tmp_path, "check")
    assert (checked.returncode, checked.stderr.count("\n")) == (2, 1)
    assert "[space] no token of the Space Daemon: run `ipfsreg space init`" in checked.stderr
    (tmp_path / "ipfsreg.ini").write_text("[registry]\nbackend = space\n[space]\ntoken = not a.token!\n")
    checked = await ipfsreg(tmp_path, "check")
    assert checked.returncode == 2
    assert "holds no token" in checked.stderr
    assert "not a" not in checked.stderr
