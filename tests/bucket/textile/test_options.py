"""What `ipfsreg check` says of the ``[textile]`` section: one line that names the option, and no secret."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from twisted.internet import reactor

from ipfsreg.app.configuration import load_config
from ipfsreg.bucket.textile.options import TextileOptions
from ipfsreg.bucket.textile.server.identity import Identity
from ipfsreg.config.environment import options_from
from ipfsreg.config.errors import ConfigError

KEY = "key-of-a-hub"
SECRET = "bmfrgg"


def load(directory: Path, section: str, environment: Mapping[str, str] | None = None) -> TextileOptions:
    file = directory / "ipfsreg.ini"
    file.write_text(f"[registry]\nbackend = textile\n[textile]\n{section}\n")
    options = load_config(file, reactor, environment or {}).backend
    assert isinstance(options, TextileOptions)
    return options


def refused(directory: Path, section: str, environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(directory, section, environment)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    "host",
    [
        "https://bücher.example",
        "http://h?x=1",
        "http://h#x",
        "http://h/path",
        "http://h;x",
        "http://127.0.0.1:abc",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:",
        "http://[::1",
        "http://",
        "http://a b",
        "ftp://h",
        "h:3007",
    ],
)
def test_hosts_that_are_none(host: str, tmp_path: Path) -> None:
    assert "[textile] host: " in refused(tmp_path, f"host = {host}")


@pytest.mark.parametrize(
    "host", ["http://127.0.0.1:3007", "https://hub.example.org/", "http://[::1]:3007", "HTTPS://a_b.c"]
)
def test_hosts(host: str, tmp_path: Path) -> None:
    assert load(tmp_path, f"host = {host}").host == host


def test_a_password_in_a_host_is_not_quoted(tmp_path: Path) -> None:
    for host in (
        "https://user:pa55word@hub.example",
        "ftp://user:pa55word@h",
        "https://user:pa55word@h:x",
        "user:pa55word@h",
        "https://u:pa55word/x@h",
    ):
        told = refused(tmp_path, f"host = {host}")
        assert "pa55word" not in told
        assert "[textile] host: " in told
        assert "pa55word" not in refused(tmp_path, "", {"HUB_HOST": host})


@pytest.mark.parametrize("option", ["timeout", "silence", "archive_every"])
def test_no_time_at_all(option: str, tmp_path: Path) -> None:
    assert f"[textile] {option}: " in refused(tmp_path, f"{option} = 0s")


@pytest.mark.parametrize("option", ["key_file", "secret_file", "identity_file"])
def test_files(option: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    key = f"key = {KEY}\n" if option == "secret_file" else ""
    for content in (None, b"", b" \n", b"\xff\xfe\x80"):
        if content is not None:
            file.write_bytes(content)
        told = refused(tmp_path, f"{key}{option} = {file}")
        assert f"[textile] {option}: " in told
        assert "Errno" not in told
        assert "codec" not in told
    assert f"[textile] {option}: " in refused(tmp_path, f"{key}{option} = {tmp_path}")


def test_a_secret_belongs_to_a_key(tmp_path: Path) -> None:
    assert "secret: there is no key" in refused(tmp_path, f"secret = {SECRET}")
    assert load(tmp_path, f"key = {KEY}\nsecret = {SECRET}").is_hub


def test_key_and_key_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("of-the-file\n")
    assert "key and key_file" in refused(tmp_path, f"key = {KEY}\nkey_file = {file}")
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    told = refused(tmp_path, f"key = {KEY}\nsecret = {SECRET}\nsecret_file = {secret}")
    assert "secret and secret_file" in told


def test_a_file_in_the_file_comes_before_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("of-the-file\n")
    options = load(tmp_path, f"key_file = {file}", {"HUB_KEY": "of-the-environment"})
    assert options.metadata()()["x-textile-api-key"] == "of-the-file"
    options = load(tmp_path, f"key = {KEY}", {"HUB_KEY": "of-the-environment"})
    assert options.metadata()()["x-textile-api-key"] == KEY
    options = load(tmp_path, "", {"HUB_KEY": "of-the-environment"})
    assert options.metadata()()["x-textile-api-key"] == "of-the-environment"


def test_warnings(tmp_path: Path) -> None:
    identity = tmp_path / "identity"
    identity.write_text(Identity.from_seed(b"\x07" * 32).private_key())
    key = tmp_path / "key"
    key.write_text(KEY)
    for file in (identity, key):
        file.chmod(0o640)
    section = f"key_file = {key}\nidentity_file = {identity}\n"
    assert not load(tmp_path, section).warnings()
    assert not load(tmp_path, section + "host = https://hub.example").warnings()
    (unencrypted,) = load(tmp_path, section + "host = http://hub.example").warnings()
    assert "The key and the token of the identity" in unencrypted
    assert KEY not in unencrypted
    key.chmod(0o644)
    (readable,) = load(tmp_path, section).warnings()
    assert f"key_file {key}" in readable
    of_buckd = load(tmp_path, f"identity_file = {identity}\nhost = http://buckd.example").warnings()
    assert ["unencrypted" in each for each in of_buckd] == [True, False]
    assert "no authentication" in of_buckd[1]


@pytest.mark.parametrize(
    ("environment", "has_file", "bucket"),
    [
        ({"HUB_HOST": "x"}, False, "ddocker"),
        ({"HUB_KEY": "x", "BUCKET_NAME": ""}, False, "ddocker"),
        ({"HUB_KEY": "x", "BUCKET_NAME": "images"}, False, "images"),
        ({"HUB_KEY": "x"}, True, None),
        ({"PORT": "5000"}, False, None),
    ],
)
def test_the_bucket_of_the_original_program(environment: dict[str, str], has_file: bool, bucket: str | None) -> None:
    """It is used where its variables are all that there is; a file of ours has our default."""
    assert options_from(environment, has_file=has_file).get("textile", {}).get("bucket") == bucket
