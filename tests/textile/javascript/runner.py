"""Runs the scripts beside it with the official clients from npm.

The clients are installed into ``node_modules`` here by `install`, from the lock file. Where that cannot be
done a test is skipped with the reason, or fails if the environment has ``IPFSREG_REQUIRE_PROGRAMS=1``.
"""

import json
import os
import shutil
import subprocess
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.utils import getProcessOutputAndValue

HERE = Path(__file__).parent
CLIENTS = ("6.3.4", "4.1.0")
"""The last release of @textile/hub, and the one that the original program was written with."""

INSTALL_SECONDS = 300


def unavailable(reason: str) -> None:
    """Skip the test, or fail it where programs are required."""
    if os.environ.get("IPFSREG_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def install() -> None:
    """Have the clients installed as the lock file says; returns at once where they are."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        unavailable("node and npm are needed to run the official Textile clients")
        return
    installed = HERE / "node_modules" / ".package-lock.json"
    lock = HERE / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        unavailable(f"npm ci of @textile/hub took more than {INSTALL_SECONDS} s")
        return
    if done.returncode:
        unavailable(f"npm ci of @textile/hub failed: {done.stderr.strip()[-500:]}")


async def run(script: str, options: dict[str, Any]) -> Any:
    """Run a script with options (`session.mjs` names them), and give its answer.

    :raises AssertionError: where it failed, with what it wrote to standard error.
    """
    node = shutil.which("node")
    assert node is not None
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(options, file)
        file.flush()
        output, errors, code = await getProcessOutputAndValue(
            node, [str(HERE / script), file.name], env=dict(os.environ), path=str(HERE)
        )
    assert code == 0, errors.decode()[-2000:]
    return json.loads(output)


async def write_as_original(
    host: str,
    files: dict[str, bytes],
    *,
    client: str = "4.1.0",
    key: str | None = None,
    secret: str | None = None,
    bucket: str = "ddocker",
    thread: str = "buckets",
    encrypted: bool = False,
) -> Any:
    """Write files as the original program did; gives ``{"key": …, "written": [{"path": …, "cid": …}, …]}``.

    On a buckd leave `key` and `secret` out. Paths are ``blobs/sha256:<hex>`` and ``manifests/<name>/<tag>``.
    """
    listed = [{"path": path, "base64": b64encode(content).decode()} for path, content in files.items()]
    options = {
        "client": client,
        "host": host,
        "key": key,
        "secret": secret,
        "bucket": bucket,
        "thread": thread,
        "encrypted": encrypted,
        "files": listed,
    }
    return await run("write-original.mjs", options)
