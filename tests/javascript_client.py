"""Runs scripts with an official client from npm.

The client is installed into ``node_modules`` beside the scripts, from the lock file there. Where that cannot be done
a test is skipped with the reason, or fails if the environment has ``IPFSREG_REQUIRE_PROGRAMS=1``.
"""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.utils import getProcessOutputAndValue

from tests.clients.programs import TOOLS, unavailable

INSTALL_SECONDS = 300
PATH = f"{os.environ['PATH']}:{TOOLS / 'node-environment/bin'}"
"""Where Node and npm are: the machine's before those of ``.ci/install-programs``."""


def listed(files: Mapping[str, bytes]) -> list[dict[str, str]]:
    """Files by path, as the scripts take them."""
    return [{"path": path, "base64": b64encode(content).decode()} for path, content in files.items()]


@dataclass(frozen=True, slots=True)
class JavaScriptClient:
    """A directory of scripts with a package.json and a lock file, and what it installs, as messages call it."""

    directory: Path
    name: str

    def install(self) -> None:
        """Have the client installed as the lock file says; returns at once where it is."""
        npm = shutil.which("npm", path=PATH)
        if npm is None or shutil.which("node", path=PATH) is None:
            unavailable(f"node and npm are needed to run {self.name} (.ci/install-programs installs them)")
        # Tests of several processes need it at the same time.
        with (self.directory / "package.json").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._install(npm)

    def _install(self, npm: str) -> None:
        installed = self.directory / "node_modules" / ".package-lock.json"
        lock = self.directory / "package-lock.json"
        if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
            return
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(
                command,
                cwd=self.directory,
                env={**os.environ, "PATH": PATH},
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            unavailable(f"npm ci of {self.name} took more than {INSTALL_SECONDS} s")
        if done.returncode:
            unavailable(f"npm ci of {self.name} failed: {done.stderr.strip()[-500:]}")

    async def run(self, script: str, options: dict[str, Any]) -> Any:
        """Run a script with options (its ``session.mjs`` names them), and give its answer.

        :raises AssertionError: where it failed, with what it wrote to standard error.
        """
        node = shutil.which("node", path=PATH)
        assert node is not None
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(options, file)
            file.flush()
            output, errors, code = await getProcessOutputAndValue(
                node,
                [str(self.directory / script), file.name],
                env={**os.environ, "PATH": PATH},
                path=str(self.directory),
            )
        assert code == 0, errors.decode()[-2000:]
        return json.loads(output)
