"""etc/systemd/ipfsreg.service: what systemd says of it, what is in it, and that its command is right."""

import re
import shlex
from pathlib import Path

import pytest
from twisted.internet import reactor

from ipfsreg.app.configuration import load_config
from tests.clients.programs import require_program, run
from tests.daemon_process import free_port, program

from .documents import CHECKOUT, block
from .notified import run_until_ready

UNIT = CHECKOUT / "etc" / "systemd" / "ipfsreg.service"
INSTALLED = "/opt/ipfsreg/bin/twistd"

EXPOSURE_MAX = 20
"""In tenths, as `systemd-analyze security` counts it; 100 is a service without any protection."""


def directives() -> dict[str, list[str]]:
    """The values of each directive of the section [Service], in order."""
    found: dict[str, list[str]] = {}
    text = UNIT.read_text(encoding="utf-8").split("[Service]\n")[1].split("\n[Install]")[0]
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as it would be if this virtual environment were the installation."""
    text = UNIT.read_text(encoding="utf-8")
    assert INSTALLED in text
    installed = tmp_path / "ipfsreg.service"
    installed.write_text(text.replace(INSTALLED, program("twistd")))
    return installed


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    assert run(require_program("systemd-analyze"), "verify", unit) == ""


def test_systemd_finds_it_protected(unit: Path) -> None:
    options = ("--no-pager", "--offline=true", f"--threshold={EXPOSURE_MAX}")
    report = run(require_program("systemd-analyze"), "security", *options, unit)
    assert "Overall exposure level" in report
    for right in ("CapabilityBoundingSet=~CAP_SYS_ADMIN", "SystemCallFilter=~@privileged", "ProtectSystem="):
        assert re.search(rf"^. {re.escape(right)} ", report, re.MULTILINE) is not None
        assert re.search(rf"^✗ {re.escape(right)} ", report, re.MULTILINE) is None


@pytest.mark.parametrize(
    ("directive", "values"),
    {
        "Type": ["notify"],
        "DynamicUser": ["yes"],
        "StateDirectory": ["ipfsreg"],
        "ProtectSystem": ["strict"],
        "ProtectHome": ["yes"],
        "PrivateTmp": ["yes"],
        "NoNewPrivileges": ["yes"],
        "CapabilityBoundingSet": [""],
        "RestrictAddressFamilies": ["AF_INET AF_INET6 AF_UNIX"],
        "SystemCallFilter": ["@system-service", "~@privileged @resources"],
    }.items(),
)
def test_what_was_asked_of_it(directive: str, values: list[str]) -> None:
    assert directives()[directive] == values


def test_tls_is_not_forbidden() -> None:
    # Seen with a real systemd: with it, every TLS connection is dropped without a word in the log.
    assert "MemoryDenyWriteExecute" not in directives()


def test_stopping_may_take_longer_than_the_grace() -> None:
    grace = load_config(None, reactor, {}).registry.shutdown_grace
    (timeout,) = directives()["TimeoutStopSec"]
    assert float(timeout.removesuffix("s")) > 2 * grace


def test_its_command_starts_and_says_so(tmp_path: Path) -> None:
    """With the configuration that the steps in docs/configuration.md make."""
    (sed,) = [line for line in block("docs/configuration.md", "As a service").splitlines() if line.startswith("sed ")]
    state = tmp_path / "state"
    state.mkdir()
    config, shipped = "/etc/ipfsreg.ini", "/opt/ipfsreg/etc/ipfsreg/ipfsreg.ini"
    made = tmp_path / "ipfsreg.ini"
    assert f" {shipped} > {config}" in sed
    run("sh", "-c", sed.replace(f" {shipped} > {config}", f" {CHECKOUT / 'etc' / 'ipfsreg.ini'} > {made}"))
    kept = load_config(made, reactor, {}).backend.state_directory
    assert kept == Path("/var/lib") / directives()["StateDirectory"][0]
    made.write_text(
        made.read_text()
        .replace("/var/lib/ipfsreg", str(state))
        .replace("#listen = tcp:5000:", f"listen = tcp:{free_port()}:")
    )

    (command,) = directives()["ExecStart"]
    words = [word.replace(INSTALLED, program("twistd")).replace(config, str(made)) for word in shlex.split(command)]
    assert words[1:3] == ["--nodaemon", "--pidfile="]
    states = run_until_ready(words, tmp_path)
    assert states == ["READY=1", "STOPPING=1"]
    assert (state / "bucket" / "layout-version").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"ipfsreg.ini", "state", "notify", "log"}
