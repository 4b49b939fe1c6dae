"""Runs the scripts beside it with the official clients of Textile from npm."""

from pathlib import Path
from typing import Any

from tests.javascript_client import JavaScriptClient, listed

CLIENTS = ("6.3.4", "4.1.0")
"""The last release of @textile/hub, and the one that the original program was written with."""

_client = JavaScriptClient(Path(__file__).parent, "@textile/hub")
install = _client.install
run = _client.run


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
    anew: bool = False,
) -> Any:
    """Write files as the original program did; gives ``{"key": …, "written": [{"path": …, "cid": …}, …]}``.

    On a buckd leave `key` and `secret` out; with `anew` each file gets a thread and a bucket of its own there. Paths
    are ``blobs/sha256:<hex>`` and ``manifests/<name>/<tag>``.
    """
    options = {
        "client": client,
        "host": host,
        "key": key,
        "secret": secret,
        "bucket": bucket,
        "thread": thread,
        "encrypted": encrypted,
        "anew": anew,
        "files": listed(files),
    }
    return await run("write-original.mjs", options)
