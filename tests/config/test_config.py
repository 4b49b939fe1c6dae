"""The configuration: what each option may be, and one line for whatever else it is."""

import os
from pathlib import Path

import pytest
from platformdirs import user_data_path
from twisted.internet import reactor

from ipfsreg.app.configuration import load_config
from ipfsreg.config.errors import ConfigError
from ipfsreg.config.file import find_config
from ipfsreg.config.sections import SECTIONS, Config


def load(tmp_path: Path, text: str | bytes) -> Config:
    file = tmp_path / "registry.ini"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(file, reactor, {})


def test_without_a_file_the_defaults_run() -> None:
    config = load_config(None, reactor, {})
    assert config.registry.listen == ("tcp:5000:interface=127.0.0.1",)
    assert config.registry.backend == "local"
    assert config.backend.state_directory == user_data_path("ipfsreg")
    assert config.registry.max_manifest_size == 4 * 1024 * 1024
    assert config.registry.max_blob_size is None


def test_every_kind_of_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    text = """
        # a comment
        [registry]
        listen = tcp:0:interface=127.0.0.1, unix:/run/x.sock
            tcp6:5001
        MAX_MANIFEST_SIZE = 1.5MiB
        max_blob_size = 20 GB
        threads = 4
        idle_timeout = 1m30s
        access_log = yes
        [auth]
        insecure = yes
        [gc]
        interval = never
        grace = 250ms
        untagged = 7d
        [scrub]
        rate = Unlimited
        [local]
        path = ~/images
    """
    config = load(tmp_path, "\n".join(line.strip() if "tcp6" not in line else line for line in text.splitlines()))
    assert config.registry.listen == ("tcp:0:interface=127.0.0.1", "unix:/run/x.sock", "tcp6:5001")
    assert config.registry.max_manifest_size == 1_572_864
    assert config.registry.max_blob_size == 20_000_000_000
    assert config.registry.threads == 4
    assert config.registry.idle_timeout == 90.0
    assert config.registry.access_log is True
    assert config.gc.interval is None
    assert config.gc.grace == 0.25
    assert config.gc.untagged == 7 * 86400
    assert config.scrub.rate is None
    assert config.backend.state_directory == Path("/home/somebody/images")


def test_a_file_may_begin_with_the_mark_of_a_windows_editor(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbf[registry]\r\nthreads = 3\r\n").registry.threads == 3


WRONG = {
    # what it is in the file: what the line says after the file's name
    "[registry]\nlisten = tcp:5000": "[registry] listen: 'tcp:5000' lets whoever reaches it push and delete",
    "[registry]\nlisten = tcp:5000:interface=0.0.0.0": "[registry] listen: 'tcp:5000:interface=0.0.0.0' lets",
    "[registry]\nlisten = tcp6:5000:interface=\\:\\:": "[registry] listen: 'tcp6:5000:interface=\\\\:\\\\:' lets",
    "[auth]\nhtpasswd = /x": "[auth] htpasswd does nothing without rules in [access]",
    "[auth]\nurl = ftp://x": "[auth] url",
    "[auth]\nchallenge = digest": "[auth] challenge",
    "[registy]": "unknown section [registy]; did you mean registry?",
    "[zzz]": "unknown section [zzz]",
    "[DEFAULT]\nthreads = 4": "unknown section [DEFAULT]",
    "[registry]\nlisten_on = x": "[registry] listen_on: unknown option; did you mean listen?",
    "[gc]\ngraze = 1h": "[gc] graze: unknown option; did you mean grace?",
    "[local]\nqqq = 1": "[local] qqq: unknown option",
    "[registry]\nlisten = tcp:5001, tcp:5000, tcp:5001": "[registry] listen: 'tcp:5001' is there twice",
    "[metrics]\nlisten = tcp:9464\nenabled = no": "[metrics]: enabled = no says that there are none, and listen where",
    "[metrics]\nlisten = tcp:5000:interface=127.0.0.1": "[metrics] listen: 'tcp:5000:interface=127.0.0.1' is there",
    "[metrics]\nlisten = tls:9464": "[metrics] listen: 'tls:9464': the certificates of [tls] are for clients only",
    "[metrics]\nlisten = systemd:index=1:tls=yes": "[metrics] listen: 'systemd:index=1:tls=yes': the certificates of",
    "[registry]\nbackend = locale": "[registry] backend: 'locale' is not one of",
    "[registry]\nbackend =": "[registry] backend: '' is not one of",
    "[registry]\nthreads = many": "[registry] threads: Input should be a valid integer",
    "[registry]\nthreads = 1": "[registry] threads: Input should be greater than or equal to 2 (it is '1')",
    "[registry]\nthreads = 1000": "[registry] threads: Input should be less than or equal to 256 (it is '1000')",
    "[registry]\nthreads": "line 2: neither a section, an option nor a comment",
    "[registry]\ntrusted_proxies = localhost": "[registry] trusted_proxies: a proxy is an IP address, a network",
    "[registry]\ntrusted_proxies = 10.0.0.1/8": "[registry] trusted_proxies: a proxy is an IP address, a network",
    "[registry]\naccess_log = perhaps": "[registry] access_log: Input should be a valid boolean",
    "[registry]\nmax_manifest_size = big": "[registry] max_manifest_size: a size is a number of bytes, or one with KiB",
    "[registry]\nmax_manifest_size = 5 apples": "[registry] max_manifest_size: a size is a number of bytes",
    "[registry]\nmax_manifest_size = -1": "[registry] max_manifest_size: a size is a number of bytes",
    "[registry]\nmax_manifest_size = 0": "[registry] max_manifest_size: Input should be greater than 0 (it is '0')",
    "[registry]\nmax_manifest_size = unlimited": "[registry] max_manifest_size: a size is a number of bytes",
    "[registry]\nmax_blob_size = 1e999": "[registry] max_blob_size: a size is a number of bytes",
    "[registry]\nidle_timeout = 60": "[registry] idle_timeout: a time is a number with ms, s, m, h, d or w",
    "[registry]\nidle_timeout = 0s": "[registry] idle_timeout: Input should be greater than 0 (it is '0s')",
    "[registry]\nstall_timeout = 0s": "[registry] stall_timeout: Input should be greater than 0 (it is '0s')",
    "[registry]\nidle_timeout = -5s": "[registry] idle_timeout: Input should be greater than or equal to 0 (it is",
    "[registry]\nidle_timeout = soon": "[registry] idle_timeout: a time is a number with ms, s, m, h, d or w",
    "[registry]\nidle_timeout =": "[registry] idle_timeout: a time is a number with ms, s, m, h, d or w",
    "[registry]\nidle_timeout = never": "[registry] idle_timeout: a time is a number with ms, s, m, h, d or w",
    "[gc]\ngrace = 99999999999999d": "[gc] grace: a time is a number with ms, s, m, h, d or w",
    "[gc]\ngrace = -1h": "[gc] grace: Input should be greater than or equal to 0 (it is '-1h')",
    "[scrub]\nrate = 0": "[scrub] rate: Input should be greater than 0 (it is '0')",
    "[registry]\nallowed_hosts = registry.example.org:5000": (
        "[registry] allowed_hosts: registry.example.org:5000 is not the name of a host"
    ),
    "[registry]\nallowed_hosts = https://a": "[registry] allowed_hosts: https://a is not the name of a host",
    "[registry]\ncors_origins = https://a, b.example.org": (
        "[registry] cors_origins: b.example.org is neither an origin, such as https://ui.example.org, nor *"
    ),
    "[registry]\ncors_origins = https://a/": "[registry] cors_origins: https://a/ is neither an origin",
    "[uploads]\nper_client = 0": "[uploads] per_client: Input should be greater than or equal to 1",
    "[uploads]\nmaximum = 0": "[uploads] maximum: Input should be greater than or equal to 1",
    "[uploads]\nmaximum = 1" + "0" * 5000: "[uploads] maximum: ",
    "[registry]\nlisten =": "[registry] listen: Value should have at least 1 item",
    "[registry]\nlisten = 5000": "[registry] listen: '5000' is not a Twisted endpoint string, such as tcp:5000",
    "[registry]\nlisten = tcp:http-alt:x=y": "[registry] listen: 'tcp:http-alt:x=y' is not a Twisted endpoint string",
    "[registry]\nlisten = tcp:interface=127.0.0.1:port=99999": "[registry] listen: 'tcp:interface=127.0.0.1:port=99999",
    "[registry]\nlisten = tcp:99999999999": "[registry] listen: 'tcp:99999999999' is not a Twisted endpoint string",
    "[registry]\nlisten = tcp:-1": "[registry] listen: 'tcp:-1' is not a Twisted endpoint string",
    "[registry]\nlisten = tcp:1:interface=999.1.1.1": "[registry] listen: 'tcp:1:interface=999.1.1.1' is not a Twisted",
    "[registry]\nlisten = tcp:1:backlog=99999999999": "[registry] listen: 'tcp:1:backlog=99999999999' is not a Twisted",
    "[registry]\nlisten = unix:/nowhere/x.sock": "[registry] listen: 'unix:/nowhere/x.sock': no such directory",
    "[registry]\nlisten = tcp:70000": "[registry] listen: 'tcp:70000' is not a Twisted endpoint string",
    "[registry]\nlisten = ssl:0:privateKey=/nowhere.pem": "[registry] listen: 'ssl:0:privateKey=/nowhere.pem': No such",
    "[local]\npath =": "[local] path: an empty path",
    "[local]\npath = ~nobody-of-that-name/x": "[local] path: Could not determine home directory",
    "[local]\npath = /a\0b": "[local] path: a path has no NUL",
    "[local]\npath = /a\n  b": "[local] path: a path is one line, without control characters (it is '/a\\nb')",
    "[local]\npath = /a\tb": "[local] path: a path is one line, without control characters",
    "[registry]\nthreads = 4\nthreads = 5": "line 3: [registry] threads: there already",
    "[registry]\n[registry]": "line 2: [registry]: there already",
    "threads = 4": "line 1: an option outside of any section",
    "[registry": "line 1: an option outside of any section",
    "\xff\xfe": "not UTF-8",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text.encode("latin-1"))
    line = str(raised.value)
    assert line.startswith(f"{tmp_path}/registry.ini: ")
    assert WRONG[text] in line
    assert len(line.splitlines()) == 1
    assert len(line) < 600


@pytest.mark.parametrize("text", ["[textile]\nsecret my-secret", "my-secret", "[textile]\nsecret = my-secret"])
def test_no_line_has_a_secret_in_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text + "\n[local]\nunknown = 1")
    assert "my-secret" not in str(raised.value)


def test_a_long_wrong_value_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, "[registry]\nthreads = 'http://me:my-secret@host' " + "x" * 900_000)
    assert "it is \"'…@host' xxx" in str(raised.value)


@pytest.mark.parametrize("text", ["x" * 100_000, "\x1b]0;x\x07", "tcp:\x00", "\u202e"])
@pytest.mark.parametrize("option", ["listen", "backend", "trusted_proxies", "allowed_hosts", "cors_origins"])
def test_a_line_is_short_and_does_nothing_to_a_terminal(tmp_path: Path, option: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f"[registry]\n{option} = {text}")
    line = str(raised.value)
    assert len(line) < 1200
    assert line.isprintable()


@pytest.mark.parametrize(
    "option",
    [
        "[registry]\nlisten = ssl:0:privateKey=PIPE",
        "[registry]\nlisten = ssl:0:certKey=PIPE",
        "[registry]\nbackend = textile\n[textile]\nkey_file = PIPE",
        "[registry]\nbackend = textile\n[textile]\nidentity_file = PIPE",
        "[registry]\nbackend = kubo\n[kubo]\nauthorization_file = PIPE",
        "[registry]\nbackend = space\n[space]\ntoken_file = PIPE",
    ],
)
def test_a_pipe_is_never_waited_for(tmp_path: Path, option: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"pipe|not a regular file") as raised:
        load(tmp_path, option.replace("PIPE", str(tmp_path / "pipe")))
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(("name", "what"), [("missing.ini", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load_config(tmp_path / name, reactor, {})


def test_the_file_is_looked_for_in_three_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    system = tmp_path / "etc" / "ipfsreg.ini"
    monkeypatch.setattr("ipfsreg.config.file.SYSTEM_FILE", system)
    assert find_config() is None
    for file in (system, tmp_path / "config" / "ipfsreg" / "ipfsreg.ini", tmp_path / "ipfsreg.ini"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        found = find_config()
        assert found is not None
        assert found.absolute() == file


def test_the_systems_file_is_in_etc() -> None:
    from ipfsreg.config.file import SYSTEM_FILE

    assert Path("/etc/ipfsreg.ini") == SYSTEM_FILE


def test_the_environment_is_for_the_backend_that_is_used(tmp_path: Path) -> None:
    file = tmp_path / "registry.ini"
    file.write_text("[registry]\nbackend = local\n")
    load_config(file, reactor, {"BUCKET_ENCRYPTION": "perhaps", "HUB_HOST": "x"})
    file.write_text("[registry]\nbackend = textile\n")
    with pytest.raises(ConfigError, match=r"^BUCKET_ENCRYPTION in the environment: Input should be a valid boolean"):
        load_config(file, reactor, {"BUCKET_ENCRYPTION": "perhaps"})


@pytest.mark.parametrize("section", SECTIONS)
def test_the_defaults_of_a_section_are_valid(section: str) -> None:
    # Where the configuration says nothing of a section they are taken as they stand.
    assert SECTIONS[section].model_construct() == SECTIONS[section].model_validate({})
