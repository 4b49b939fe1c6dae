"""The bucket's backup: a mirror that the Space Daemon keeps on its hub, if it has one.

See docs/protocols/space.md, "The hub".

Tasks of the control socket, from arguments that are strings to what JSON can hold. All fail with a `BucketError`.
"""

from collections.abc import Mapping
from typing import Any

from ipfsreg.bucket.errors import Refused

from .bucket import SpaceBucket
from .client import HUB_SECONDS
from .errors import NotImplementedYet
from .proto import space_pb2


async def switch_backup(bucket: SpaceBucket, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Switch the backup ``on`` or ``off``, as ``to`` says. What is on the hub stays there."""
    to = arguments.get("to")
    if to not in {"on", "off"}:
        raise Refused("to is on or off")
    await bucket.ensure()
    request = space_pb2.ToggleBucketBackupRequest(bucket=bucket.slug, backup=to == "on")
    await bucket.client.call("ToggleBucketBackup", request, space_pb2.ToggleBucketBackupResponse, deadline=HUB_SECONDS)
    return {"backup": to}


async def read_backup_status(bucket: SpaceBucket, arguments: Mapping[str, str]) -> dict[str, Any]:
    """What of the bucket is on the hub: how many ``files`` there are, how many are ``backed_up`` and ``in_progress``.

    ``usage`` is what the daemon says of its storage, in bytes by name, or None where it cannot say.
    """
    await bucket.ensure()
    counts = {"files": 0, "backed_up": 0, "in_progress": 0}
    directories = [""]
    while directories:
        directory = directories.pop()
        for entry in await bucket.listings.of(directory):
            if entry.isDir:
                directories.append(f"{directory}/{entry.name}".lstrip("/"))
                continue
            counts["files"] += 1
            counts["backed_up"] += entry.backupCount > 0
            counts["in_progress"] += entry.isBackupInProgress
    return {**counts, "usage": await _usage(bucket)}


async def _usage(bucket: SpaceBucket) -> dict[str, int] | None:
    try:
        found = await bucket.client.call(
            "GetUsageInfo", space_pb2.GetUsageInfoRequest(), space_pb2.GetUsageInfoResponse
        )
    except NotImplementedYet:
        return None  # as in every release that there is
    return {"used": found.spaceStorageUsed, "quota": found.usageQuota}


TASKS = {"backup-switch": switch_backup, "backup-status": read_backup_status}
