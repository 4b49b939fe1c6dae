"""Runs the scripts beside it with IPFS libraries from npm.

They are installed into ``node_modules`` here by `install`, from the lock file. Where that cannot be done a test is
skipped with the reason, or fails if the environment has ``IPFSREG_REQUIRE_PROGRAMS=1``.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.clients.programs import run, unavailable

HERE = Path(__file__).parent
INSTALL_SECONDS = 300


def install() -> None:
    """Have the libraries installed as the lock file says; returns at once where they are."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        unavailable("node and npm are needed to run IPFS in JavaScript")
    installed, lock = HERE / "node_modules" / ".package-lock.json", HERE / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        unavailable(f"npm ci took more than {INSTALL_SECONDS} s")
    if done.returncode:
        unavailable(f"npm ci failed: {done.stderr.strip()[-500:]}")


def answer_of(script: str, *arguments: str) -> Any:
    """Run a script to its end, and give what it printed as JSON."""
    return json.loads(run("node", str(HERE / script), *arguments, cwd=HERE).splitlines()[-1])
