"""Runs the scripts beside it with the official client of the Space Daemon from npm."""

from pathlib import Path
from typing import Any

from tests.javascript_client import JavaScriptClient, listed

HERE = Path(__file__).parent
PROTO = HERE / "node_modules" / "@fleekhq" / "space-client" / "src" / "definitions" / "space.proto"
"""The client's own description of the service, once it is installed."""

_client = JavaScriptClient(HERE, "@fleekhq/space-client")
install = _client.install
run = _client.run


async def write_as_original(
    host: str, token: str, files: dict[str, bytes], *, bucket: str = "ddocker", create: bool = True
) -> Any:
    """Write files as the original program did; gives ``{"roots": ["/ipfs/…", …]}``, one for each file.

    Paths are ``blobs/sha256:<hex>`` and ``manifests/<name>/<tag>``. The bucket is made first, unless told otherwise.
    """
    options = {"host": host, "token": token, "bucket": bucket, "create": create, "files": listed(files)}
    return await run("write-original.mjs", options)
