"""``ipfsreg keys`` and ``ipfsreg team`` as users run them."""

import http.client
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ipfsreg.bucket.team import key_file
from ipfsreg.cli.main import main
from ipfsreg.encryption import key_text
from tests import fork_server
from tests.daemon_process import DaemonProcess, program


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A passphrase costs nothing, and nothing of this user's is looked at."""
    for name in ("to_key_text",):
        real = getattr(key_text, name)
        monkeypatch.setattr(key_file, name, lambda key, passphrase, *_, real=real: real(key, passphrase, 1, 8192))
    monkeypatch.delenv("IPFSREG_PASSPHRASE", raising=False)
    monkeypatch.chdir(tmp_path)


def keys(*arguments: str, stdin: str | None = None, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(main, ["keys", *arguments], input=stdin)


def test_a_key_is_made_for_its_user_alone_and_shown() -> None:
    made = keys("init", "keys/anna.key")
    assert made.exit_code == 0
    public = made.stdout.strip()
    assert len(bytes.fromhex(public)) == 32
    file = Path("keys/anna.key")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert keys("show", "keys/anna.key").stdout == f"{public}\n"
    again = keys("init", "keys/anna.key")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "never overwritten" in again.stderr
    Path("ipfsreg.ini").write_text("[encryption]\nkey = keys/anna.key\n")
    assert keys("show").stdout == f"{public}\n"


@pytest.mark.parametrize(
    "kind", ["readable", "link", "fifo", "directory", "missing", "empty", "text", "long", "binary"]
)
def test_what_is_no_private_file_of_a_key_is_refused_in_one_line(kind: str) -> None:
    file = Path("anna.key")
    keys("init", "other.key")
    if kind == "readable":
        file.write_bytes(Path("other.key").read_bytes())
        file.chmod(0o640)
    elif kind == "link":
        file.symlink_to("other.key")
    elif kind == "fifo":
        os.mkfifo(file, 0o600)
    elif kind == "directory":
        file.mkdir(0o700)
    elif kind != "missing":
        file.write_bytes({"empty": b"", "text": b"a key\n", "long": b"{" * 10_000, "binary": b"\xff\0"}[kind])
        file.chmod(0o600)
    Path("ipfsreg.ini").write_text("[encryption]\nenabled = yes\nkey = anna.key\n")
    shown = keys("show")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.count("\n") == 1
    assert "anna.key" in shown.stderr
    checked = CliRunner().invoke(main, ["check"])
    assert checked.exit_code != 0
    assert "anna.key" in checked.stderr
    assert "[encryption] key" in checked.stderr


def test_a_passphrase_from_the_prompt_the_environment_or_a_file() -> None:
    assert keys("init", "a.key", "--passphrase", stdin="secret\nother\nsecret\nsecret\n").exit_code == 0
    assert keys("init", "b.key", IPFSREG_PASSPHRASE="secret").exit_code == 0
    Path("phrase").write_text("secret\nmore\n")
    assert keys("init", "c.key", "--passphrase-file", "phrase").exit_code == 0
    for name in ("a.key", "b.key", "c.key"):
        file = key_file.KeyFile(Path(name))
        assert file.needs_passphrase()
        assert file.load("secret").public.hex() == keys("show", name).stdout.strip()
    Path("ipfsreg.ini").write_text("[encryption]\nenabled = yes\nkey = a.key\n")
    checked = CliRunner().invoke(main, ["check"])
    assert "IPFSREG_PASSPHRASE" in checked.stderr
    Path("ipfsreg.ini").write_text("[encryption]\nenabled = yes\nkey = a.key\npassphrase_file = phrase\n")
    assert CliRunner().invoke(main, ["check"]).exit_code == 0
    Path("phrase").write_text("\n")
    assert "no passphrase in its first line" in CliRunner().invoke(main, ["check"]).stderr


def test_a_recovery_key_is_typed_back() -> None:
    keys("init", "paper.key")
    paper = key_file.KeyFile(Path("paper.key")).load()
    text = key_text.to_recovery_text(paper)
    done = keys("recover", "back.key", stdin=text.lower())
    assert done.stdout.strip() == paper.public.hex()
    assert key_file.KeyFile(Path("back.key")).load().seed() == paper.seed()
    wrong = keys("recover", "wrong.key", stdin=text[:-1])
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert wrong.stderr.count("\n") == 1
    assert not Path("wrong.key").exists()
    assert "never overwritten" in keys("recover", "back.key", stdin=text).stderr


class Daemons:
    """Daemons on this disk, each with a key of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def of(self, name: str, local: Path | None = None, **encryption: str) -> DaemonProcess:
        (home := self.directory / name).mkdir(exist_ok=True)
        more = {"encryption": {"enabled": "yes", "key": str(home / "member.key"), **encryption}}
        return DaemonProcess(home, more if local is None else more | {"local": {"path": str(local)}})


@pytest.fixture
def anna(tmp_path: Path) -> Iterator[DaemonProcess]:
    daemon = Daemons(tmp_path).of("anna", refresh="1s")
    assert daemon.command("keys", "init").returncode == 0
    with daemon:
        yield daemon


def team(daemon: DaemonProcess, *arguments: str) -> dict[str, object]:
    done = daemon.command("team", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_the_team_is_the_same_through_the_daemon_and_alone(anna: DaemonProcess) -> None:
    bob = keys("init", "bob.key").stdout.strip()
    for running in (True, False):
        if not running:
            anna.stop()
        added = anna.command("team", "add", bob, "--role", "writer", "--name", "bob")
        assert (added.returncode, added.stdout) == (0, "bob is a member now, as writer.\n")
        found = team(anna, "list")
        roles = {each["name"]: each["role"] for each in found["members"]}  # type: ignore[attr-defined]
        assert roles == {"founder": "owner", "bob": "writer"}
        shown = anna.command("team", "list").stdout
        assert f"writer\t{bob}\tbob\t-\n" in shown
        before = found["generation"]
        removed = team(anna, "remove", "bob")
        assert (removed["role"], removed["generation"]) == ("removed", team(anna, "list")["generation"])
        assert removed["generation"] > before  # type: ignore[operator]
        assert team(anna, "rotate")["generation"] > removed["generation"]  # type: ignore[operator]
        for wrong, said in (
            (("remove", "bob"), "there is no member bob"),
            (("remove", "founder"), "own record"),
            (("add", "00"), "64 hexadecimal digits"),
            (("add", bob, "--name", "a\nb"), "printable"),
        ):
            failed = anna.command("team", *wrong)
            assert failed.returncode != 0
            assert said in failed.stderr
    anna.start()


def test_a_push_to_a_reader_is_refused_and_not_logged(anna: DaemonProcess, tmp_path: Path) -> None:
    ben = Daemons(tmp_path).of("ben", local=anna.path)
    team(anna, "add", ben.command("keys", "init").stdout.strip(), "--name", "ben")
    anna.stop()
    with ben:
        client = http.client.HTTPConnection("127.0.0.1", ben.port, timeout=30)
        with closing(client):
            client.request("POST", "/v2/box/blobs/uploads/")
            answer = client.getresponse()
            assert (answer.status, b"can only be read" in answer.read()) == (405, True)
            client.request("GET", "/", headers={"Accept": "text/html"})
            assert b"images can only be pulled" in client.getresponse().read()
        assert "/v2/box/" not in ben.log
        assert f"Try: docker pull {ben.host}/IMAGE" in ben.log
        assert "docker push" not in ben.log
    anna.start()


def test_a_recovery_key_from_the_team_opens_the_bucket(anna: DaemonProcess) -> None:
    done = anna.command("team", "recovery")
    assert done.returncode == 0
    anna.stop()
    lost = anna.directory / "member.key"
    lost.unlink()
    assert "ipfsreg keys init" in anna.command("team", "list").stderr
    recovered = fork_server.run(
        [program("ipfsreg"), "keys", "recover", str(lost)],
        input=done.stdout.encode(),
        cwd=anna.directory,
        env={"HOME": str(anna.directory)},
    )
    recovered.check_returncode()
    found = team(anna, "list")
    assert found["you"] == recovered.stdout.strip()
    anna.start()


def test_without_a_member_s_key_a_start_is_one_clear_line(anna: DaemonProcess, tmp_path: Path) -> None:
    anna.stop()
    (anna.directory / "member.key").rename(tmp_path / "kept.key")
    for said in ("ipfsreg keys init", "ipfsreg team add"):
        before = len(anna.log)
        with pytest.raises(RuntimeError):
            anna.start()
        lines = [line for line in anna.log[before:].splitlines() if "ipfsreg: " in line]
        assert len(lines) == 1
        assert said in lines[0]
        anna.command("keys", "init")
    (anna.directory / "member.key").unlink()
    (tmp_path / "kept.key").rename(anna.directory / "member.key")
    anna.start()


def test_own_damaged_keys_are_one_line_that_names_the_file_and_the_remedy(anna: DaemonProcess) -> None:
    anna.stop()
    (keys,) = (anna.path / "bucket/encryption/keys/1").iterdir()
    content = keys.read_bytes()
    keys.write_bytes(content[:-1])
    before = len(anna.log)
    with pytest.raises(RuntimeError):
        anna.start()
    said = [line for line in anna.log[before:].splitlines() if keys.name in line]
    assert len(said) == 1
    assert f"encryption/keys/1/{keys.name} is not as it was signed" in said[0]
    assert f"`ipfsreg team add {keys.name} --role owner`" in said[0]
    keys.write_bytes(content)
    anna.start()


def test_a_daemon_with_keys_leaves_no_core_file(anna: DaemonProcess) -> None:
    limits = Path(f"/proc/{anna.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)


def test_a_daemon_without_encryption_leaves_an_encrypted_bucket_alone(anna: DaemonProcess) -> None:
    anna.stop()
    text = anna.config_file.read_text()
    anna.config_file.write_text(text.replace("enabled = yes", "enabled = no"))
    with pytest.raises(RuntimeError, match=r"\[encryption\] enabled = yes"):
        anna.start()
    anna.config_file.write_text(text)
    anna.start()
