"""What a start loads: time and memory that every start takes, so nothing that is not used."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

OTHER_BACKENDS = ("ipfsreg.bucket.kubo", "ipfsreg.bucket.textile", "ipfsreg.bucket.space", "ipfsreg.grpcweb")
CLIENTS = ("treq", "twisted.web.client", "rich", "twisted.conch", "h11", "wsproto", "google.protobuf", "nacl")
PAGES = ("jinja2",)
WATCHING = (
    "prometheus_client",
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


@pytest.mark.parametrize(
    ("argument", "more", "unused"),
    [
        ("check", ["--config", "x.ini"], (*OTHER_BACKENDS, *CLIENTS, *ACCESS, *SERVER)),
        ("--version", [], (*OTHER_BACKENDS, *CLIENTS, *ACCESS, *SERVER, "twisted", "pydantic")),
    ],
)
def test_a_command(tmp_path: Path, argument: str, more: list[str], unused: tuple[str, ...]) -> None:
    assert loaded_by(COMMAND.format(argument=argument, more=more), tmp_path) & set(unused) == set()
