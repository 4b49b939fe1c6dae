"""``ipfsreg token`` and ``ipfsreg access`` as users run them."""

import fcntl
import json
import os
import stat
import subprocess
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import bcrypt
import pytest
from click.testing import CliRunner, Result

from ipfsreg.access.htpasswd import Htpasswd, parse_htpasswd
from ipfsreg.access.robots import parse_robots
from ipfsreg.cli.main import main
from tests.access.helpers import HASH
from tests.daemon_process import program
from tests.full import FULL

INI = """
[local]
path = data
[auth]
htpasswd = htpasswd
[access]
rules =
    group devs = alice
    # comments are passed over
    allow @devs        pull,push  team/**
    allow github+app   pull       ci/*
    allow @github+acme push       ci/*
    allow users        catalog
    deny  robot+ci     push       team/frozen
    allow anyone       pull       public/*
"""


class Cli:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runner = CliRunner()
        (directory / "ipfsreg.ini").write_text(INI)
        (directory / "htpasswd").write_text(f"alice:{HASH}\n")
        (directory / "data").mkdir()

    def run(self, *arguments: str, typed: str = "") -> Result:
        return self.runner.invoke(main, list(arguments), input=typed)

    def fails(self, *arguments: str, status: int = 1, typed: str = "") -> str:
        result = self.run(*arguments, typed=typed)
        assert (result.exit_code, result.stdout) == (status, "")
        (line,) = result.stderr.splitlines()
        return line

    def verdict(self, *arguments: str) -> str:
        result = self.run("access", "check", *arguments)
        assert result.exit_code == (0 if result.stdout.startswith("allowed: ") else 1)
        assert result.stderr == ""
        return result.stdout.removesuffix("\n")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ipfsreg.config.file.SYSTEM_FILE", tmp_path / "etc" / "ipfsreg.ini")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    if not FULL:
        monkeypatch.setattr("bcrypt.gensalt", partial(bcrypt.gensalt, 4))  # hashes take as little as there is
    return Cli(tmp_path)


def test_a_robot_is_made_listed_and_revoked(cli: Cli) -> None:
    made = cli.run(
        "token", "create", "ci", "--repositories", "team/*, shared", "--actions", "pull,push", "--expires", "90d"
    )
    assert made.exit_code == 0
    (secret,) = made.stdout.splitlines()  # alone, for $(…)
    assert "robot+ci can log in" in made.stderr
    robots = parse_robots((cli.directory / "data" / "robots.json").read_bytes())
    assert robots.check("robot+ci", secret)
    assert cli.run("token", "create", "robot+other").exit_code == 0
    lines = cli.run("token", "list").stdout.splitlines()
    name, actions, repositories, since, until = lines[0].split("\t")
    assert (name, actions, repositories) == ("robot+ci", "pull,push", "team/*,shared")
    assert date.fromisoformat(until) - date.fromisoformat(since) == timedelta(days=90)
    assert lines[1].split("\t") == ["robot+other", "by the rules", "-", since, "-"]
    assert secret not in cli.run("token", "list").output
    assert cli.run("token", "revoke", "robot+ci").stdout == "robot+ci is gone.\n"
    assert [line.split()[0] for line in cli.run("token", "list").stdout.splitlines()] == ["robot+other"]


def test_where_nobody_can_be_asked_it_says_what_to_do(cli: Cli) -> None:
    command = [program("ipfsreg"), "user", "add", "bob"]
    done = subprocess.run(
        command, cwd=cli.directory, input="password\n", capture_output=True, text=True, start_new_session=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("ipfsreg: there is no terminal to ask on: --password-stdin reads it from standard input\n")


def test_what_cannot_be_is_one_line(cli: Cli) -> None:
    cli.run("token", "create", "ci")
    assert "there is a robot ci already" in cli.fails("token", "create", "ci")
    assert "name: String should match" in cli.fails("token", "create", "CI")
    assert "no pattern of repositories" in cli.fails("token", "create", "x", "--repositories", "Team")
    assert "expires: Input should be less than" in cli.fails("token", "create", "x", "--expires", "9999999d")
    assert "--actions goes with --repositories" in cli.fails("token", "create", "x", "--actions", "pull", status=2)
    assert "there is no robot nobody" in cli.fails("token", "revoke", "nobody")
    assert cli.run("token", "create", "x", "--repositories", "a", "--actions", "fetch").exit_code == 2
    (cli.directory / "data" / "robots.json").write_text("{")
    assert "robots.json: Invalid JSON" in cli.fails("token", "list")
    (cli.directory / "ipfsreg.ini").write_text("[local]\npath = nowhere\n")
    assert "nowhere is not there: start the daemon once" in cli.fails("token", "create", "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write where it should not")
def test_root_makes_no_file_that_the_daemon_cannot_read(cli: Cli) -> None:
    os.chown(cli.directory / "data", 12345, -1)
    assert "belongs to another user" in cli.fails("token", "create", "x")
    assert not list((cli.directory / "data").iterdir())


def users(cli: Cli) -> Htpasswd:
    return parse_htpasswd((cli.directory / "htpasswd").read_bytes())


def test_users_are_added_listed_and_removed(cli: Cli) -> None:
    file = cli.directory / "htpasswd"
    file.write_text(f"# who works here\nalice:{HASH}\n\n")
    made = cli.run("user", "add", "bob", "carol", typed="b\nb\nc\nother\nc\nc\n")
    assert (made.exit_code, made.stdout) == (0, "")
    assert "bob can log in" in made.stderr
    assert [bool(users(cli).check(*each)) for each in (("bob", "b"), ("carol", "c"), ("bob", "c"))] == [1, 1, 0]
    assert file.read_text().startswith(f"# who works here\nalice:{HASH}\n\nbob:$2b$")
    assert cli.run("user", "list").stdout == "alice\nbob\ncarol\n"
    assert cli.run("user", "password", "bob", "--password-stdin", typed="new\n").exit_code == 0
    assert users(cli).check("bob", "new")
    assert not users(cli).check("bob", "b")
    assert cli.run("user", "remove", "bob").stdout == "bob is gone.\n"
    assert json.loads(cli.run("user", "list", "--json").stdout) == {"users": ["alice", "carol"]}
    assert {each.name for each in cli.directory.iterdir()} == {"data", "htpasswd", "ipfsreg.ini"}


def test_the_file_of_users_is_made_and_keeps_its_mode_and_its_link(cli: Cli) -> None:
    file, elsewhere = cli.directory / "htpasswd", cli.directory / "data" / "users"
    file.unlink()
    cli.run("user", "add", "bob", "--password-stdin", typed="b")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    file.chmod(0o604)
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert cli.run("user", "add", "carol", "--password-stdin", typed="c").exit_code == 0
    assert file.is_symlink()
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o604
    assert cli.run("user", "list").stdout == "bob\ncarol\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_file_of_users_to_whose_it_is(cli: Cli) -> None:
    file = cli.directory / "htpasswd"
    os.chown(file, 12345, 12346)
    cli.run("user", "add", "bob", "--password-stdin", typed="b")
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 12346)
    file.unlink()
    os.chown(cli.directory, 12345, 12347)
    cli.run("user", "add", "bob", "--password-stdin", typed="b")
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 12347)


def test_who_holds_the_lock_keeps_no_command_for_ever(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipfsreg.access.watched.CHANGED_SECONDS", 0.1)
    before = (cli.directory / "htpasswd").read_bytes()
    held = os.open(cli.directory, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        line = cli.fails("user", "add", "bob", "--password-stdin", typed="b")
    finally:
        os.close(held)
    assert "another program holds the lock of its directory" in line
    assert (cli.directory / "htpasswd").read_bytes() == before
    assert cli.run("user", "add", "bob", "--password-stdin", typed="b").exit_code == 0


def test_users_who_cannot_be_are_one_line_and_change_nothing(cli: Cli) -> None:
    before = (cli.directory / "htpasswd").read_bytes()
    assert "alice is in" in cli.fails("user", "add", "bob", "alice")
    assert "'robot+ci' cannot be a user's name" in cli.fails("user", "add", "robot+ci")
    assert "'a:b' cannot be a user's name" in cli.fails("user", "add", "a:b")
    assert "there is no user bob in" in cli.fails("user", "remove", "bob")
    assert "there is no user bob in" in cli.fails("user", "password", "bob")
    assert "at most 72 bytes" in cli.fails("user", "add", "bob", "--password-stdin", typed="x" * 73)
    assert "a password is not empty" in cli.fails("user", "add", "bob", "--password-stdin")
    assert "--password-stdin is for one user" in cli.fails("user", "add", "b", "c", "--password-stdin", status=2)
    assert (cli.directory / "htpasswd").read_bytes() == before
    (cli.directory / "htpasswd").write_text("alice:$apr1$secret\n")
    assert "htpasswd: line 1: the password of 'alice' is MD5 (apr1)" in cli.fails("user", "add", "bob")
    (cli.directory / "ipfsreg.ini").write_text("[local]\npath = data\n")
    assert "names no file for users: add htpasswd = FILE" in cli.fails("user", "list", status=2)


def test_the_verdict_and_the_rule(cli: Cli) -> None:
    assert cli.verdict("alice", "team/app", "push") == "allowed: allow @devs        pull,push  team/**"
    assert cli.verdict("alice", "team/app", "delete") == "denied: no rule allows it"
    assert cli.verdict("alice", "catalog") == "allowed: allow users        catalog"
    assert cli.verdict("anonymous", "catalog") == "denied: no rule allows it"
    assert cli.verdict("anonymous", "public/x", "pull") == "allowed: allow anyone       pull       public/*"
    assert cli.verdict("github+app", "ci/x", "pull") == "allowed: allow github+app   pull       ci/*"
    assert cli.verdict("github+app", "ci/x", "push") == "denied: no rule allows it"
    assert cli.verdict("--group", "github+acme", "github+app", "ci/x", "push").startswith("allowed: allow @github+acme")
    cli.run("token", "create", "ci", "--repositories", "team/*", "--actions", "pull,push")
    assert cli.verdict("robot+ci", "team/x", "push") == "allowed: the robot was made for that, and no rule denies it"
    assert cli.verdict("robot+ci", "team/frozen", "push") == "denied: deny  robot+ci     push       team/frozen"
    assert cli.verdict("robot+ci", "public/x", "pull") == "denied: the robot was not made for that"
    assert "bob is not in" in cli.run("access", "check", "bob", "team/app", "pull").stderr
    assert "there is no robot+x" in cli.fails("access", "check", "robot+x", "a", "pull", status=2)
    assert "'fetch' is not one of pull, push" in cli.fails("access", "check", "alice", "a", "fetch", status=2)
    assert "pull needs one repository" in cli.fails("access", "check", "alice", "pull", status=2)
    assert "catalog concerns no repository" in cli.fails("access", "check", "alice", "a", "catalog", status=2)


def test_without_rules_everybody_may_do_everything(cli: Cli) -> None:
    (cli.directory / "ipfsreg.ini").write_text("[local]\npath = data\n")
    allowed = "allowed: ipfsreg.ini has no rules in [access], so everybody may do everything"
    for asked in (("alice", "a", "delete"), ("anonymous", "admin"), ("robot+x", "a", "push")):
        assert cli.verdict(*asked) == allowed
    assert json.loads(cli.run("access", "check", "alice", "catalog", "--json").stdout)["allowed"] is True
    assert "'fetch' is not one of pull, push" in cli.fails("access", "check", "alice", "a", "fetch", status=2)


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        (
            "ipfsreg.ini",
            "[access]\nrules = allow x\n",
            "ipfsreg.ini: [access] rules: 'allow x': a rule is allow or deny",
        ),
        (
            "ipfsreg.ini",
            "[access]\nrules =\n[auth]\ncertificate_users = x\n",
            "[auth] certificate_users: 'x': a line is cn",
        ),
        ("ipfsreg.ini", "[auth]\nhtpasswd = htpasswd\n", "[auth] htpasswd does nothing without rules in [access]"),
        ("ipfsreg.ini", "[auth]\nservice = a b\n[access]\nrules =", "[auth] service: String should match pattern"),
        (
            "ipfsreg.ini",
            "[auth]\ntoken_lifetime = 1s\n[access]\nrules =",
            "[auth] token_lifetime: Input should be greater",
        ),
        ("htpasswd", "alice:$apr1$secret\n", "htpasswd: line 1: the password of 'alice' is MD5 (apr1)"),
        ("data/robots.json", "[]", "robots.json: Input should be an object"),
    ],
)
def test_check_says_what_is_wrong_with_access_control(cli: Cli, file: str, content: str, line: str) -> None:
    (cli.directory / file).write_text(content)
    found = cli.fails("check", status=2)
    assert line in found
    assert "secret" not in found


def test_check_finds_access_control_right(cli: Cli) -> None:
    assert cli.run("check").stdout == "OK: ipfsreg.ini\n"
    assert not (cli.directory / "data" / "token-keys.json").exists()
    cli.run("token", "create", "ci")
    assert json.loads((cli.directory / "data" / "robots.json").read_text())["version"] == 1
    assert cli.run("check").stdout == "OK: ipfsreg.ini\n"
