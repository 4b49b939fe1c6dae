"""What a start loads: time and memory that every start takes, so nothing that is not used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context

from ipfsreg.cli.main import main
from tests.full import some

OTHER_BACKENDS = ("ipfsreg.bucket.kubo", "ipfsreg.bucket.textile", "ipfsreg.bucket.space", "ipfsreg.grpcweb")
CLIENTS = ("treq", "twisted.web.client", "rich", "twisted.conch", "h11", "wsproto", "google.protobuf", "nacl")
PAGES = ("jinja2",)
WATCHING = (
    "prometheus_client",
    "opentelemetry",
    "ipfsreg.app.metrics",
    "ipfsreg.app.webhooks.webhooks",
)
LATER = (
    *("ipfsreg.registry.upkeep.collector", "ipfsreg.registry.upkeep.scrubber", "ipfsreg.registry.upkeep.tag_retention"),
    *("ipfsreg.registry.ipfs.describing", "ipfsreg.registry.ipfs.exporting", "ipfsreg.registry.ipfs.importing"),
    *("ipfsreg.registry.ipfs.publishing", "ipfsreg.registry.events.event_log", "ipfsreg.registry.original"),
)
ACCESS = ("joserfc", "ipfsreg.access.authority")
SERVER = ("klein", "werkzeug", "ipfsreg.web", "ipfsreg.registry.registry")

DAEMON = """
from pathlib import Path
from twisted.internet import reactor
import twisted.scripts.twistd
import ipfsreg.tap
from ipfsreg.app.assembly import make_daemon
from ipfsreg.app.configuration import load_config
make_daemon(load_config(Path("x.ini"), reactor), reactor, print)
"""
COMMAND = """
import sys
sys.argv = ["ipfsreg", {argument!r}, *{more!r}]
from ipfsreg.cli import run
try:
    run()
except SystemExit as end:
    assert not end.code
"""

LISTEN = "tcp:0:interface=127.0.0.1"


def loaded_by(code: str, directory: Path) -> set[str]:
    """The modules that a program has loaded in the end."""
    (directory / "x.ini").write_text(
        f"[local]\npath = {directory}/store\n[registry]\nlisten = tcp:0:interface=127.0.0.1\n"
    )
    code += "\nimport json, sys\nprint()\nprint(json.dumps(list(sys.modules)))"
    environment = {"HOME": str(directory), "PATH": os.environ["PATH"]}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=directory, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return set(json.loads(said.stdout.splitlines()[-1]))


def test_a_daemon_with_a_local_bucket(tmp_path: Path) -> None:
    modules = loaded_by(DAEMON, tmp_path)
    assert "ipfsreg.registry.registry" in modules
    assert modules & {*OTHER_BACKENDS, *CLIENTS, *ACCESS, *PAGES, *WATCHING, *LATER} == set()


ALL = (*OTHER_BACKENDS, *CLIENTS, *ACCESS, *SERVER)
SLOW = ("twisted", "pydantic", "OpenSSL", "asyncio", "importlib.metadata")
COMMANDS = main.list_commands(Context(main))
QUICK = ("copy", "ls", "gc", "export", "share", "space", "retention")


@pytest.mark.parametrize(
    ("argument", "more", "unused"),
    [
        ("check", ["--config", "x.ini"], ALL),
        ("--help", [], (*ALL, *SLOW)),
        ("--version", [], (*ALL, "twisted", "pydantic")),
        *((name, ["--help"], (*OTHER_BACKENDS, "pydantic", *SERVER)) for name in some(5, COMMANDS)),
        *((name, ["--help"], (*ALL, *SLOW)) for name in some(2, QUICK)),
    ],
)
def test_a_command(tmp_path: Path, argument: str, more: list[str], unused: tuple[str, ...]) -> None:
    assert loaded_by(COMMAND.format(argument=argument, more=more), tmp_path) & set(unused) == set()


@pytest.mark.parametrize("words", [["ls", "--registry", "localhost:1"], ["copy", "localhost:1", "localhost:2"]])
def test_a_registry_elsewhere_needs_no_configuration(tmp_path: Path, words: list[str]) -> None:
    code = COMMAND.replace("assert not end.code", "assert end.code == 5")
    loaded = loaded_by(code.format(argument=words[0], more=words[1:]), tmp_path)
    assert "ipfsreg.client.connection" in loaded
    assert loaded & {*OTHER_BACKENDS, *CLIENTS, *SERVER, "pydantic", "sqlite3", "ipfsreg.app.configuration"} == set()


@pytest.mark.parametrize("typed", ["ipfsreg ", "ipfsreg inspect --", "ipfsreg copy --to", "ipfsreg share "])
def test_what_completes_a_line_is_quick(tmp_path: Path, typed: str) -> None:
    words = {"_IPFSREG_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    loaded = loaded_by(f"import os; os.environ.update({words!r})" + COMMAND.format(argument="", more=[]), tmp_path)
    assert loaded & {*ALL, *SLOW} == set()
