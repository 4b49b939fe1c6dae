"""A run of the tests ends, whatever the tests do, and says that it failed."""

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from .conftest import BEGUN_FIRST

CHECKOUT = Path(__file__).resolve().parents[1]
JOBS = 2


def options() -> list[str]:
    """How `make test` has the tests run, as the Makefile and pyproject.toml have it; the timeout is short."""
    (workers,) = re.findall(r"^workers := (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert settings["timeout"] > 0
    return [
        *("-p", "xdist", "-p", "pytest_timeout"),
        *shlex.split(settings["addopts"]),
        *shlex.split(workers.replace("$(JOBS)", str(JOBS))),
        *("--override-ini", "timeout=1", "--override-ini", f"timeout_method={settings['timeout_method']}"),
    ]


def run(where: Path, *files: str) -> tuple[int, str]:
    """Run these files in a process group of its own, which is ended if it does not end by itself."""
    for number, text in enumerate(files):
        (where / f"test_{number}.py").write_text(textwrap.dedent(text))
    (where / "pytest.ini").write_text("[pytest]\n")
    process = subprocess.Popen(
        # A directory of its own: the one for everybody is tidied at the end, of what whole runs have left in it.
        [sys.executable, "-m", "pytest", *options(), "-p", "no:cacheprovider", f"--basetemp={where}/temp", str(where)],
        cwd=where,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # the others only make each start slower
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    try:
        printed, _ = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        pytest.fail(f"the run did not end:\n{printed}")
    return process.returncode, printed


FINE = "def test_fine(): pass"
DIES = """
    import os
    def test_before(): pass
    def test_dies(): os._exit(0)
    def test_after(): pass
"""
HANGS = """
    import time
    def test_hangs(): time.sleep(600)
    def test_after(): pass
"""


def test_a_worker_that_dies_ends_the_run_with_a_failure(tmp_path: Path) -> None:
    code, printed = run(tmp_path, DIES, FINE)
    assert code == 1, printed
    assert re.search(r"worker 'gw\d' crashed while running '.*::test_dies'", printed), printed
    assert "1 failed" in printed


def test_so_does_a_test_that_hangs_even_where_no_worker_is_left(tmp_path: Path) -> None:
    code, printed = run(tmp_path, DIES, HANGS, FINE)
    assert code == 1, printed
    assert re.search(r"worker 'gw\d' crashed while running '.*::test_hangs'", printed), printed
    assert "2 failed" in printed


def test_what_is_begun_first_is_there() -> None:
    assert not [name for name in BEGUN_FIRST if not (CHECKOUT / "tests" / name).exists()]
