"""Sharing and archives as tasks of the control socket: from arguments that are strings to what JSON can hold.

All take the buckets of the server that the registry's one bucket consists of, and fail with a `BucketError`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.errors import Refused

from . import archive, sharing
from .bucket_calls import BucketCalls

Arguments = Mapping[str, str]
TextileTask = Callable[[Sequence[BucketCalls], Arguments, IReactorTime], Awaitable[dict[str, Any]]]

SEPARATOR = "\n"
"""What is between several paths in one argument."""

WATCH_SECONDS = 30.0
WATCH_SECONDS_MAX = 300.0


async def share_grant(services: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    """Give ``role`` to ``who`` at ``paths`` (empty or absent: everywhere). See `sharing.grant_in_all`."""
    who, role = _needed(arguments, "who"), _needed(arguments, "role")
    return await sharing.grant_in_all(services, who, role, *_paths(arguments))


async def share_list(services: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    """The roles at ``paths``. See `sharing.list_in_all`."""
    return await sharing.list_in_all(services, *_paths(arguments))


async def archive_start(services: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    """See `archive.start_all`; its list is ``buckets``."""
    return {"buckets": await archive.start_all(services)}


async def archive_status(services: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    """See `archive.status_all`; its list is ``buckets``."""
    return {"buckets": await archive.status_all(services)}


async def archive_watch(services: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    """Watch for ``seconds``. See `archive.watch_all`; its list is ``buckets``."""
    try:
        seconds = min(WATCH_SECONDS_MAX, max(0.1, float(arguments.get("seconds") or WATCH_SECONDS)))
    except ValueError:
        raise Refused("seconds is no number") from None
    return {"buckets": await archive.watch_all(services, seconds, clock)}


TEXTILE_TASKS: dict[str, TextileTask] = {
    "share-grant": share_grant,
    "share-list": share_list,
    "archive-start": archive_start,
    "archive-status": archive_status,
    "archive-watch": archive_watch,
}


def _paths(arguments: Arguments) -> Sequence[str]:
    return arguments.get("paths", "").split(SEPARATOR)


def _needed(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if not value:
        raise Refused(f"{name} is missing")
    return value
