"""What the commands of the Textile backend ask for, and what they print."""

from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ipfsreg.bucket.textile.server.identity import Identity, load_identity
from ipfsreg.cli import command, textile
from ipfsreg.cli.main import main

MATE = Identity.from_seed(b"\x07" * 32)
PATHS = "\n".join(f"repositories/team/app/_{kind}" for kind in ("tags", "manifests", "blobs", "referrers"))
OWNER = Identity.from_seed(b"\x08" * 32)


class Program:
    """The commands, with the registry's answers given beforehand. See `Alone`."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.asked: list[tuple[Path | None, str, Mapping[str, str]]] = []
        self._path: Path | None = None

    def with_registry(self, path: Path | None, work: Callable[[Any], Coroutine[Any, Any, Any]], **_: bool) -> Any:
        """In place of the one of `command`: nothing here has to be waited for."""
        self._path = path
        with pytest.raises(StopIteration) as ended:
            work(self).send(None)
        return ended.value.value

    async def do(self, task: str, arguments: Mapping[str, str], heard: object = None) -> dict[str, Any]:
        self.asked.append((self._path, task, arguments))
        return self.answers.pop(0)

    def __call__(self, *arguments: str | Path) -> Result:
        result = CliRunner().invoke(main, [str(each) for each in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Program:
    program = Program()
    monkeypatch.chdir(tmp_path)
    for name in ("ipfsreg.ini", "x.ini"):
        Path(name).write_text("[registry]\nbackend = textile\n", encoding="utf-8")
    for module in (command, textile):
        monkeypatch.setattr(module, "with_registry", program.with_registry)
    return program


def test_identity(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "identity"
    made = program("identity", "make", file)
    assert made.exit_code == 0
    identity = load_identity(file)
    assert made.output == f"{identity.public_key}\n"
    assert program("identity", "show", file).output == made.output
    again = program("identity", "make", file)
    assert again.exit_code == 1
    assert again.stderr == f"ipfsreg: {file} is there already; it is never overwritten\n"
    assert load_identity(file) == identity
    missing = program("identity", "show", tmp_path / "missing")
    assert missing.exit_code == 1
    assert "cannot read" in missing.stderr


def roles(mate: str | None, uneven: list[str] | None = None) -> dict[str, Any]:
    return {
        "paths": [],
        "roles": {OWNER.public_key: "admin"} | ({MATE.public_key: mate} if mate else {}),
        "uneven": uneven or [],
    }


def test_share(program: Program) -> None:
    program.answers = [roles("writer"), roles("reader"), roles(None), roles("writer", [MATE.public_key])]
    granted = program("share", "grant", "--config", "x.ini", MATE.public_key, "writer")
    assert granted.output == f"admin   {OWNER.public_key}\nwriter  {MATE.public_key}\n"
    assert program("share", "grant", "--repository", "team/app", "*", "reader").exit_code == 0
    assert program("share", "revoke", MATE.public_key).exit_code == 0
    listed = program("share", "list", "--repository", "team/app")
    assert listed.output.endswith(f"grant or revoke again: {MATE.public_key}\n")
    assert program.asked == [
        (Path("x.ini"), "share-grant", {"who": MATE.public_key, "role": "writer", "paths": ""}),
        (
            None,
            "share-grant",
            {"who": "*", "role": "reader", "paths": PATHS},
        ),
        (None, "share-grant", {"who": MATE.public_key, "role": "none", "paths": ""}),
        (None, "share-list", {"paths": PATHS}),
    ]


def test_a_role_that_stays_from_above_is_told(program: Program) -> None:
    program.answers = [roles("reader")]
    revoked = program("share", "revoke", "--repository", "team/app", MATE.public_key)
    assert revoked.exit_code == 1
    assert "still has a role here" in revoked.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["grant", MATE.private_key(), "reader"], "not a public key"),
        (["grant", "somebody", "reader"], "not a public key"),
        (["grant", MATE.public_key, "none"], "'none' is not one of"),
        (["grant", "--repository", "Team", MATE.public_key, "reader"], "lower-case"),
    ],
)
def test_usage(program: Program, arguments: list[str], text: str) -> None:
    result = program("share", *arguments)
    assert result.exit_code == 2
    assert text in result.stderr
    assert MATE.private_key() not in result.output
    assert program.asked == []


def test_archive_start(program: Program) -> None:
    program.answers = [
        {"buckets": [{"bucket": "a", "state": "started"}, {"bucket": "b", "state": "unchanged", "why": "nothing new"}]},
        {"buckets": [{"bucket": each, "state": "refused", "why": "no Powergate"} for each in "ab"]},
    ]
    started = program("archive", "start")
    assert (started.exit_code, started.output) == (0, "The archive was started.\nnothing new\n")
    refused = program("archive", "start")
    assert (refused.exit_code, refused.output) == (1, "no Powergate\n")


def test_archive_status(program: Program) -> None:
    deal = {"miner": "f01", "deal": 7, "state": "Active", "size": 1, "message": ""}
    done = {"cid": "bafy", "job": "j", "state": "success", "created": "2026-01-01", "failure": "", "deals": [deal]}
    failed = {**done, "state": "failed", "created": None, "failure": "no miner", "deals": []}
    program.answers = [
        {"buckets": [{"bucket": "a", "current": done, "history": [failed]}]},
        {"buckets": [{"bucket": "a", "current": failed, "history": []}]},
        {"buckets": [{"bucket": "a", "current": None, "history": []}]},
    ]
    good = program("archive", "status")
    assert good.exit_code == 0
    assert good.output.splitlines() == [
        "Bucket a:",
        "  at an unknown time  failed: no miner  bafy",
        "  2026-01-01  success  bafy",
        "    f01 deal 7 Active",
    ]
    assert program("archive", "status").exit_code == 1
    assert program("archive", "status").output == "Bucket a:\n  never archived\n"


def watched(*messages: str, ended: bool) -> dict[str, Any]:
    return {"buckets": [{"bucket": "a", "messages": list(messages), "ended": ended}]}


def test_archive_watch_prints_each_message_once(program: Program) -> None:
    program.answers = [
        watched("queued", "executing", ended=False),
        watched("executing", ended=False),
        watched("queued", "executing", "deal\x1b[1m", ended=False),
        watched("success", ended=True),
        {"buckets": [{"bucket": "a", "current": {"state": "success"}, "history": []}]},
    ]
    result = program("archive", "watch")
    assert result.exit_code == 0
    assert result.output == "queued\nexecuting\ndeal\\x1b[1m\nsuccess\n"
    assert program.asked[0] == (None, "archive-watch", {})


def test_archive_watch_where_nothing_is(program: Program) -> None:
    program.answers = [
        watched(ended=True),
        {"buckets": [{"bucket": "a", "current": None, "history": []}]},
    ]
    assert program("archive", "watch").output == "The bucket was never archived.\n"


def test_archive_watch_of_one_that_fails(program: Program) -> None:
    program.answers = [
        watched("failed", ended=True),
        {"buckets": [{"bucket": "a", "current": {"state": "failed"}, "history": []}]},
    ]
    assert program("archive", "watch").exit_code == 1


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["share", "list"], "the backend textile"),
        (["share", "grant", "*", "reader"], "the backend textile"),
        (["share", "revoke", "*"], "the backend textile"),
        (["archive", "start"], "the backend textile"),
        (["archive", "status"], "the backend textile"),
        (["archive", "watch"], "the backend textile"),
        (["space", "backup", "on"], "the backend space"),
        (["space", "backup", "off"], "the backend space"),
        (["space", "backup", "status"], "the backend space"),
    ],
)
def test_a_command_of_another_backend(program: Program, words: list[str], needed: str) -> None:
    Path("local.ini").write_text("", encoding="utf-8")
    done = program(*words, "--config", "local.ini")
    assert (done.exit_code, done.stdout) == (2, "")
    path = " ".join(each for each in words if each.isalpha() and each != "reader")
    assert done.stderr == f"ipfsreg: `ipfsreg {path}` needs {needed}, and local.ini says [registry] backend = local\n"


@pytest.mark.parametrize("words", [["list"], ["remove", "anna"], ["rotate"], ["rewrap"]])
def test_a_team_without_encryption(program: Program, words: list[str]) -> None:
    done = program("team", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "needs an encrypted bucket, and ipfsreg.ini says [encryption] enabled = no" in done.stderr
