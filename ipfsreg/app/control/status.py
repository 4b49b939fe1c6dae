"""The task that tells how a registry is."""

import os
from datetime import UTC, datetime
from typing import Any

from ipfsreg import __version__
from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.opened import Opened
from ipfsreg.registry.registry import Registry

from .events import Arguments


async def tell_status(
    registry: Registry, backend: Opened, started: float | None, arguments: Arguments
) -> dict[str, Any]:
    """What runs, what is used, and what could be freed; where the storage does not answer, ``error`` says why.

    ``started`` is when the daemon has, in seconds since 1970, and None for a command alone.
    """
    uploads, received = registry.uploads.count, registry.uploads.received
    daemon = None
    if started is not None:
        since = datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds")
        daemon = {"pid": os.getpid(), "started": since, "version": __version__}
    known: dict[str, Any] = {
        "daemon": daemon,
        "read_only": backend.read_only,
        "repositories": None,
        "used": None,
        "counted": False,
        "uploads": {"count": uploads, "bytes": received},
        "garbage": None,
        "error": None,
    }
    try:
        usage = await registry.used()
        known |= {"used": usage.of_all, "counted": usage.complete}
        known["repositories"] = await registry.catalog.count()
        if backend.read_only is None and backend.not_read_needlessly is None:
            found = await registry.collector.would_free()
            fields = ("manifests", "contents", "skipped")
            known["garbage"] = found and {"bytes": found.freed, **{name: getattr(found, name) for name in fields}}
    except BucketError as error:
        known["error"] = str(error)
    return known
