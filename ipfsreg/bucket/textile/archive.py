"""Backups of a bucket on Filecoin, made by the server's Powergate (docs/protocols/textile.md, "Archives").

All refusals are an `ArchiveRefused`, whose text is one line for the user; the texts are in `errors.ROWS`.
"""

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from ipfsreg.flow.gather import gather
from ipfsreg.grpcweb.errors import one_line

from .proto import bucketsd_pb2
from .server.bucket_calls import BucketCalls
from .server.errors import ArchiveNotNeeded, ArchiveRefused, NeverArchived

STATES = {
    bucketsd_pb2.ARCHIVE_STATUS_UNSPECIFIED: "unknown",
    bucketsd_pb2.ARCHIVE_STATUS_QUEUED: "queued",
    bucketsd_pb2.ARCHIVE_STATUS_EXECUTING: "executing",
    bucketsd_pb2.ARCHIVE_STATUS_FAILED: "failed",
    bucketsd_pb2.ARCHIVE_STATUS_CANCELED: "canceled",
    bucketsd_pb2.ARCHIVE_STATUS_SUCCESS: "success",
}

MESSAGES_MAX = 10_000
"""So many messages of one watch are kept, the last ones."""

_GRACE = 10.0


async def start(bucket: BucketCalls) -> None:
    """Have an archive made of the bucket as it is now, with its default configuration.

    :raises ArchiveNotNeeded: where that is under way, or nothing changed since the last one.
    :raises ArchiveRefused: where the server cannot, or will not for the bucket's size.
    """
    await bucket.call("Archive", bucketsd_pb2.ArchiveRequest(key=bucket.key), bucketsd_pb2.ArchiveResponse, slow=True)


async def status(bucket: BucketCalls) -> dict[str, Any]:
    """What became of the archives: ``current`` (or None) and ``history``, each as `archive_as_json`."""
    found = await _archives(bucket)
    current = found.current
    return {
        "current": archive_as_json(current) if current.job_id or current.cid else None,
        "history": [archive_as_json(each) for each in found.history],
    }


async def watch(bucket: BucketCalls, seconds: float, clock: IReactorTime) -> dict[str, Any]:
    """Follow the current archive for so many seconds at most.

    Answers ``messages``, and ``ended``: whether the archive is finished, well or not, so that there is no more.
    A server may begin with messages that it sent to an earlier watch: see `news`.

    :raises NeverArchived: where there is none.
    """
    messages: deque[str] = deque(maxlen=MESSAGES_MAX)

    async def follow() -> None:
        # Our own time is to be up first: the deadline is for a server that does not even take the call.
        stream = bucket.answers(
            "ArchiveWatch",
            bucketsd_pb2.ArchiveWatchRequest(key=bucket.key),
            bucketsd_pb2.ArchiveWatchResponse,
            deadline=seconds + _GRACE,
        )
        async for message in stream:
            messages.append(message.msg)

    following = Deferred.fromCoroutine(follow()).addTimeout(seconds, clock)
    try:
        await following
    except DeferredTimeout:
        return {"messages": list(messages), "ended": False}
    return {"messages": list(messages), "ended": True}


def news(seen: Sequence[str], messages: Sequence[str]) -> list[str]:
    """The messages of a watch that were not seen yet.

    A server may send again what it sent to the watch before, all of it or the last part; so the longest
    beginning of the messages that is an end of what was seen is passed over.
    """
    for length in range(min(len(seen), len(messages)), 0, -1):
        if list(seen[-length:]) == list(messages[:length]):
            return list(messages[length:])
    return list(messages)


async def start_all(buckets: Sequence[BucketCalls]) -> list[dict[str, Any]]:
    """`start` for each of several buckets.

    Answers for each its key as ``bucket``, and as ``state``: ``started``, ``unchanged`` (also while the last one is
    being made) or ``refused``, for the last two with the reason in one line as ``why``.
    """
    return [await _start_one(bucket) for bucket in buckets]


async def start_due(buckets: Sequence[BucketCalls], seconds: float, now: float) -> list[dict[str, Any]]:
    """`start_all` for those whose last archive was begun at least so many seconds ago, or came to nothing.

    The server says when that was, whoever began it. ``now`` is in seconds since 1970.
    """
    return await start_all([bucket for bucket in buckets if await _is_due(bucket, seconds, now)])


async def _is_due(bucket: BucketCalls, seconds: float, now: float) -> bool:
    current = (await _archives(bucket)).current
    failed = STATES.get(current.archive_status) in {"failed", "canceled"}
    return failed or now - current.created_at >= seconds


async def status_all(buckets: Sequence[BucketCalls]) -> list[dict[str, Any]]:
    """`status` of each of several buckets, with its key as ``bucket``."""
    return [{"bucket": bucket.key, **await status(bucket)} for bucket in buckets]


async def watch_all(buckets: Sequence[BucketCalls], seconds: float, clock: IReactorTime) -> list[dict[str, Any]]:
    """`watch` for several buckets at once, with its key as ``bucket``.

    One that was never archived has no messages and is at its end, with the reason as ``why``.
    """
    return await gather(lambda bucket: _watch_one(bucket, seconds, clock), buckets, len(buckets))


async def _start_one(bucket: BucketCalls) -> dict[str, Any]:
    try:
        await start(bucket)
    except ArchiveNotNeeded as error:
        return {"bucket": bucket.key, "state": "unchanged", "why": str(error)}
    except ArchiveRefused as error:
        return {"bucket": bucket.key, "state": "refused", "why": str(error)}
    return {"bucket": bucket.key, "state": "started"}


async def _watch_one(bucket: BucketCalls, seconds: float, clock: IReactorTime) -> dict[str, Any]:
    try:
        return {"bucket": bucket.key, **await watch(bucket, seconds, clock)}
    except NeverArchived as error:
        return {"bucket": bucket.key, "messages": [], "ended": True, "why": str(error)}


async def _archives(bucket: BucketCalls) -> bucketsd_pb2.ArchivesResponse:
    request = bucketsd_pb2.ArchivesRequest(key=bucket.key)
    return await bucket.call("Archives", request, bucketsd_pb2.ArchivesResponse, slow=True)


def archive_as_json(archive: bucketsd_pb2.Archive) -> dict[str, Any]:
    """An archive as a dict: ``cid``, ``job``, ``state`` (a value of `STATES`), ``created`` (RFC 3339, or None),
    ``failure`` (text, empty where there is none), and ``deals``, each with ``miner``, ``state``, ``deal``, ``size``
    (bytes) and ``message``.
    """
    return {
        "cid": archive.cid,
        "job": archive.job_id,
        "state": STATES.get(archive.archive_status, f"unknown ({archive.archive_status})"),
        "created": _time(archive.created_at),
        "failure": one_line(archive.aborted_msg or archive.failure_msg or ("aborted" if archive.aborted else "")),
        "deals": [
            {
                "miner": deal.miner,
                "state": deal.state_name,
                "deal": deal.deal_id,
                "size": deal.size,
                "message": one_line(deal.message),
            }
            for deal in archive.deal_info
        ],
    }


def _time(seconds: int) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None
    except (OverflowError, ValueError, OSError):
        return None
