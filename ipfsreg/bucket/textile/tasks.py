"""Sharing and archives as tasks of the control socket: from arguments that are strings to what JSON can hold.

All take the buckets of the server that the registry's one bucket consists of, and fail with a `BucketError`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.errors import Refused

from . import archive, sharing
from .server.bucket_calls import BucketCalls

Arguments = Mapping[str, str]
TextileTask = Callable[[Sequence[BucketCalls], Arguments, IReactorTime], Awaitable[dict[str, Any]]]

SEPARATOR = "\n"
"""What is between several paths in one argument."""

WATCH_SECONDS = 30.0
WATCH_SECONDS_MAX = 300.0


async def _share_grant(buckets: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    who, role = _needed(arguments, "who"), _needed(arguments, "role")
    return await sharing.grant_in_all(buckets, who, role, *_paths(arguments))


async def _share_list(buckets: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    return await sharing.list_in_all(buckets, *_paths(arguments))


async def _archive_start(buckets: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    return {"buckets": await archive.start_all(buckets)}


async def _archive_status(buckets: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    return {"buckets": await archive.status_all(buckets)}


async def _archive_watch(buckets: Sequence[BucketCalls], arguments: Arguments, clock: IReactorTime) -> dict[str, Any]:
    try:
        seconds = min(WATCH_SECONDS_MAX, max(0.1, float(arguments.get("seconds") or WATCH_SECONDS)))
    except ValueError:
        raise Refused("seconds is no number") from None
    return {"buckets": await archive.watch_all(buckets, seconds, clock)}


TEXTILE_TASKS: dict[str, TextileTask] = {
    "share-grant": _share_grant,
    "share-list": _share_list,
    "archive-start": _archive_start,
    "archive-status": _archive_status,
    "archive-watch": _archive_watch,
}
"""By name. ``share-grant`` gives ``role`` to ``who`` at ``paths``, ``share-list`` tells the roles there: on all of the
bucket where there are none. ``archive-watch`` watches for ``seconds``. The answers are those of `sharing` and
`archive`; a list is in ``buckets``.
"""


def _paths(arguments: Arguments) -> Sequence[str]:
    return arguments.get("paths", "").split(SEPARATOR)


def _needed(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if not value:
        raise Refused(f"{name} is missing")
    return value
