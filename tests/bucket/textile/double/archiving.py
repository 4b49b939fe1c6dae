"""Filecoin archives of buckets. The deals are moved on by the test, or by a timer.

See docs/protocols/textile.md, "Archives".
"""

import secrets
from typing import Any

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.call import UNKNOWN, Call, RpcError
from tests.grpcweb_double.settings import MEBIBYTE

from .bucket import Bucket
from .buckets_base import BucketsBase

QUEUED = bucketsd_pb2.ARCHIVE_STATUS_QUEUED
EXECUTING = bucketsd_pb2.ARCHIVE_STATUS_EXECUTING
FAILED = bucketsd_pb2.ARCHIVE_STATUS_FAILED
CANCELED = bucketsd_pb2.ARCHIVE_STATUS_CANCELED
SUCCESS = bucketsd_pb2.ARCHIVE_STATUS_SUCCESS

_FINAL = {FAILED, CANCELED, SUCCESS}
_POLL = 0.02


def default_config() -> bucketsd_pb2.ArchiveConfig:
    """What a bucket is archived with unless it was told otherwise."""
    return bucketsd_pb2.ArchiveConfig(
        rep_factor=1,
        deal_min_duration=521600,
        max_price=100000000000,
        fast_retrieval=True,
        deal_start_offset=72 * 60 * 2,
        verified_deal=True,
        renew=bucketsd_pb2.ArchiveRenew(enabled=False, threshold=0),
    )


class Archiving(BucketsBase):
    """The archive methods."""

    def _need_powergate(self) -> None:
        if not self.world.powergate:
            raise RpcError(UNKNOWN, "archiving feature is disabled")

    async def DefaultArchiveConfig(
        self, call: Call, request: bucketsd_pb2.DefaultArchiveConfigRequest
    ) -> bucketsd_pb2.DefaultArchiveConfigResponse:
        self._need_powergate()
        bucket = self.load(call, request.key)
        config = bucket.archive_config if bucket.archive_config.ByteSize() else default_config()
        return bucketsd_pb2.DefaultArchiveConfigResponse(archive_config=config)

    async def SetDefaultArchiveConfig(
        self, call: Call, request: bucketsd_pb2.SetDefaultArchiveConfigRequest
    ) -> bucketsd_pb2.SetDefaultArchiveConfigResponse:
        self._need_powergate()
        bucket = self.load(call, request.key)
        self._check_config(request.archive_config)
        bucket.archive_config = request.archive_config
        return bucketsd_pb2.SetDefaultArchiveConfigResponse()

    def _check_config(self, config: bucketsd_pb2.ArchiveConfig) -> None:
        most = self.world.limits.archive_rep_factor if self.world.hub else 0
        if config.rep_factor > most:
            raise RpcError(UNKNOWN, f"rep factor should be at most: {most}")

    async def Archive(self, call: Call, request: bucketsd_pb2.ArchiveRequest) -> bucketsd_pb2.ArchiveResponse:
        self._need_powergate()
        thread = self.thread_of(call)
        async with self.world.buckets.locked(call, request.key):
            draft = self.world.buckets.load(request.key, thread).draft()
            self._check_size(draft)
            if request.archive_config.ByteSize():
                self._check_config(request.archive_config)
            current = draft.archives.current
            cid = draft.root.cid
            if current.archive_status == SUCCESS and current.cid == cid:
                raise RpcError(UNKNOWN, "the same bucket cid is already archived successfully")
            if current.archive_status in (QUEUED, EXECUTING):
                raise RpcError(UNKNOWN, "there is an in progress archive")
            if self.world.wallet_empty:
                raise RpcError(UNKNOWN, "wallet FIL balance is zero, if recently created wait 30s")
            archives = bucketsd_pb2.Archives(history=draft.archives.history)
            if current.job_id:
                archives.history.append(current)
            job = bucketsd_pb2.Archive(
                cid=cid,
                job_id=secrets.token_hex(16),
                archive_status=QUEUED,
                created_at=int(self.world.faults.now()),
            )
            archives.current.CopyFrom(job)
            draft.archives = archives
            await self.world.buckets.save(call, draft)
        return bucketsd_pb2.ArchiveResponse()

    def _check_size(self, bucket: Bucket) -> None:
        limits = self.world.limits
        # A buckd never sets the limits (docs/protocols/textile.md, "Archives").
        smallest, largest = (limits.archive_smallest, limits.archive_largest) if self.world.hub else (0, 0)
        size = bucket.root.dag_size
        if size < smallest:
            text = f"archive size is too small, should be greater than: {smallest // MEBIBYTE} MiB"
            raise RpcError(UNKNOWN, text)
        if size > largest:
            text = f"archive size is too big, should be less than: {largest // MEBIBYTE // 1024} GiB"
            raise RpcError(UNKNOWN, text)

    async def Archives(self, call: Call, request: bucketsd_pb2.ArchivesRequest) -> bucketsd_pb2.ArchivesResponse:
        archives = self.load(call, request.key).archives
        response = bucketsd_pb2.ArchivesResponse(history=archives.history)
        if archives.current.job_id:
            response.current.CopyFrom(archives.current)
        return response

    async def ArchiveWatch(self, call: Call, request: bucketsd_pb2.ArchiveWatchRequest) -> None:
        self._need_powergate()
        last: Any = None
        while True:
            current = self.load(call, request.key).archives.current
            if not current.job_id:
                raise RpcError(UNKNOWN, "the bucket was never archived")
            status = current.archive_status
            if status != last:
                last = status
                name = bucketsd_pb2.ArchiveStatus.Name(status).removeprefix("ARCHIVE_STATUS_")
                await call.send(bucketsd_pb2.ArchiveWatchResponse(msg=f"Job {current.job_id} is {name}"))
            if status in _FINAL:
                return
            await call.sleep(_POLL)
            call.check()
