"""How the programs begin, and what an early Ctrl-C does."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.full import some

INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGINT, {handler})

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = {arguments!r}
{start}
"""
COMMAND = "from ipfsreg.cli import run; run()"
DAEMON = "from twisted.scripts.twistd import run; run()"


def interrupted(
    tmp_path: Path, start: str, module: str, *arguments: str, handler: str = "signal.default_int_handler"
) -> subprocess.CompletedProcess[str]:
    """Run a program that gets the signal when it begins to load a module."""
    code = INTERRUPTED.format(handler=handler, module=module, arguments=list(arguments), start=start)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "module", some(2, ["ipfsreg.cli.main", "twisted.internet.ssl", "pydantic", "ipfsreg.cli.upkeep"])
)
def test_a_command_that_is_interrupted_while_it_loads_says_nothing(tmp_path: Path, module: str) -> None:
    ended = interrupted(tmp_path, COMMAND, module, "ipfsreg", "check")
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_a_script_that_ignores_the_signal_goes_on(tmp_path: Path) -> None:
    ended = interrupted(tmp_path, COMMAND, "pydantic", "ipfsreg", "check", handler="signal.SIG_IGN")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("OK: ")


@pytest.mark.parametrize("module", some(1, ["ipfsreg.app.assembly", "pydantic"]))
def test_nor_does_the_daemon(tmp_path: Path, module: str) -> None:
    ended = interrupted(tmp_path, DAEMON, module, "twistd", "-n", "ipfsreg")
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")
