"""What the `[space]` section takes, refuses and warns of; each in one line, before anything is asked."""

import os
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from ipfsreg.app.configuration import load_config
from ipfsreg.bucket.errors import Refused, SetupError
from ipfsreg.bucket.space.options import SpaceOptions
from ipfsreg.config.errors import ConfigError
from tests.bucket.running import running

from .backend import Backend
from .double import SpaceDouble
from .test_setup import ipfsreg

pytest_plugins = ["tests.bucket.space.double.fixtures"]

TOKEN = "of-a.daemon"


def written(directory: Path, **options: str) -> Path:
    """A configuration for this backend."""
    file = directory / "x.ini"
    lines = [f"{name} = {value}" for name, value in ({"path": str(directory / "state")} | options).items()]
    file.write_text("\n".join(["[registry]", "backend = space", "[space]", *lines, ""]))
    return file


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://h?x=1",
        "http://h#x",
        "http://127.0.0.1:abc",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:",
        "http://:9998",
        "http://ünicode:9998",
        "http://[127.0.0.1]:9998",
        "ftp://h",
    ],
)
def test_addresses_that_are_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[space\] url: ") as caught:
        load_config(written(tmp_path, url=url, token=TOKEN), reactor, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9998", "http://[::1]:9998/", "https://h", "http://space.example:1"])
def test_addresses(url: str, tmp_path: Path) -> None:
    load_config(written(tmp_path, url=url, token=TOKEN), reactor, {})


@pytest.mark.parametrize("bucket", ["", " ", "a/b", "a\nb", "a b", "a\0b", "x" * 201])
@pytest_twisted.ensureDeferred
async def test_names_that_no_bucket_has(bucket: str, space_daemon: SpaceDouble, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bucket"):
        SpaceOptions.model_validate({"bucket": bucket})
    if bucket not in {"", "a/b"}:
        return  # two tell that the command asks the same
    config = written(tmp_path, url=space_daemon.url, token=space_daemon.token)
    created = await ipfsreg(tmp_path, "space", "create", "--config", config, bucket)
    assert (created.returncode, space_daemon.calls.methods()) == (2, [])
    assert "the name of a bucket" in created.stderr


@pytest_twisted.ensureDeferred
async def test_create_without_a_key_pair(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    """The daemon would keep it waiting for a minute, and then speak of something else."""
    await new_space_daemon.service.InitializeMasterAppToken(None, None)  # type: ignore[arg-type]
    config = written(tmp_path, url=new_space_daemon.url, token=new_space_daemon.token)
    created = await ipfsreg(tmp_path, "space", "create", "--config", config, "zz")
    assert (created.returncode, created.stderr.count("\n")) == (1, 1)
    assert "no key pair: run `ipfsreg space init`" in created.stderr
    assert new_space_daemon.calls.methods() == ["GetPublicKey"]


@pytest_twisted.ensureDeferred
async def test_a_name_that_differs_in_case(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    async with running(Backend(space_daemon, tmp_path, bucket="DDOCKER")) as backend:
        with pytest.raises(Refused, match="no bucket 'DDOCKER', but 'ddocker'"):
            await backend.bucket.list("d")
    assert space_daemon.calls.of("CreateBucket") == []


def test_a_variable_that_holds_no_token_is_named(tmp_path: Path) -> None:
    for file in (None, written(tmp_path)):
        with pytest.raises(ConfigError, match=r"^DAEMON_TOKEN in the environment: .*no token") as caught:
            load_config(file, reactor, {"DAEMON_TOKEN": "not-one"})
        assert "not-one" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"x.ini: \[space\] token: .*no token"):
        load_config(written(tmp_path, token="not-one"), reactor, {"DAEMON_TOKEN": TOKEN})


def test_two_tokens_in_one_section(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    file = written(tmp_path, token=TOKEN, token_file=str(tmp_path / "token"))
    with pytest.raises(ConfigError, match=r"\[space\]: token and token_file") as caught:
        load_config(file, reactor, {})
    assert TOKEN not in str(caught.value)
    # The variable of the original program is no second one: the file comes first.
    load_config(written(tmp_path, token_file=str(tmp_path / "token")), reactor, {"DAEMON_TOKEN": "another.token"})


@pytest.mark.parametrize(
    ("url", "clear"), [("http://192.0.2.1:9998", True), ("https://192.0.2.1:9998", False), ("http://[::1]:1", False)]
)
def test_a_token_that_goes_over_a_network(url: str, clear: bool, tmp_path: Path) -> None:
    options = SpaceOptions.model_validate({"url": url, "path": tmp_path, "token": TOKEN})
    assert any("in clear" in each for each in options.warnings()) is clear


def test_the_file_of_the_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    options = SpaceOptions.model_validate({"path": tmp_path, "token_file": file})
    assert options.warnings() == []
    file.write_text(TOKEN)
    for mode, warned in ((0o600, False), (0o400, False), (0o640, True), (0o604, True)):
        file.chmod(mode)
        assert options.app_token() == TOKEN
        assert any(f"chmod 600 {file}" in each for each in options.warnings()) is warned
    # A pipe would have it wait for a writer, for ever.
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(SetupError, match=f"token_file {file}: Is a pipe and not a file"):
        options.app_token()
    assert SpaceOptions.model_validate({"path": tmp_path, "token_file": file}).problem() is not None
