"""The calls that need the hub: sharing, and the mirror that the daemon calls a backup.

See docs/protocols/space.md, "The hub".
"""

from urllib.parse import urlencode

from ipfsreg.bucket.space.proto import space_pb2
from tests.bucket.textile.double.identity import new_thread_id, to_base32
from tests.bucket.textile.double.tree import follow, random_cid
from tests.bucket.textile.double.unixfs import RAW, cid_string
from tests.grpcweb_double.call import UNKNOWN, Call, RpcError

from .account import DEFAULT_BUCKET
from .base import SpaceBase

SITE = "https://app.space.storage"


class Sharing(SpaceBase):
    """ShareBucket, ToggleBucketBackup, BucketBackupRestore, GeneratePublicFileLink, GetUsageInfo."""

    async def ShareBucket(self, call: Call, request: space_pb2.ShareBucketRequest) -> space_pb2.ShareBucketResponse:
        account = await self.hub_ready(call)
        if not self.world.hub_address:
            raise RpcError(UNKNOWN, "no textile hub set")
        record, _ = self.find_now(account, request.bucket or DEFAULT_BUCKET)
        address = f"{self.world.hub_address}/thread/{record.thread}"
        info = space_pb2.ThreadInfo(addresses=[address], key=to_base32(new_thread_id()))
        return space_pb2.ShareBucketResponse(threadinfo=info)

    async def ToggleBucketBackup(
        self, call: Call, request: space_pb2.ToggleBucketBackupRequest
    ) -> space_pb2.ToggleBucketBackupResponse:
        account = await self.hub_ready(call)
        record = account.records.get(request.bucket or DEFAULT_BUCKET)
        if record is None:
            raise RpcError(UNKNOWN, "Bucket not found")
        record.backup = request.backup
        self.find_now(account, record.slug)
        return space_pb2.ToggleBucketBackupResponse()

    async def BucketBackupRestore(
        self, call: Call, request: space_pb2.BucketBackupRestoreRequest
    ) -> space_pb2.BucketBackupRestoreResponse:
        """Also brings back what was removed: the mirror has it still."""
        account = await self.hub_ready(call)
        record, bucket = self.find_now(account, request.bucket or DEFAULT_BUCKET)
        async with self.world.buckets.locked(call, bucket.key):
            draft = self.world.buckets.load(bucket.key, record.thread).draft()
            for path, file in record.mirror.items():
                try:
                    follow(draft.root, record.cipher.encrypt_path(path))
                except RpcError:
                    self.link(record, draft, path, file)
            await self.world.buckets.save(call, draft)
        return space_pb2.BucketBackupRestoreResponse()

    async def GeneratePublicFileLink(
        self, call: Call, request: space_pb2.GeneratePublicFileLinkRequest
    ) -> space_pb2.GeneratePublicFileLinkResponse:
        """The copy that the link is to is not made: nobody could fetch it from the hub that is not there."""
        record, bucket = await self.find(call, request.bucket)
        if not request.itemPaths:
            raise RpcError(UNKNOWN, "no file passed to share link")
        for path in request.itemPaths:
            follow(bucket.root, record.cipher.encrypt_path(path))
        if not self.world.hub:
            raise RpcError(UNKNOWN, "failed to get public files bucket: hub is not reachable")
        many = len(request.itemPaths) > 1
        name = "space_files.zip" if many else request.itemPaths[0].rpartition("/")[2]
        cid = cid_string(random_cid(RAW))
        link = f"{SITE}/files/share?{urlencode({'fname': name, 'hash': cid})}"
        return space_pb2.GeneratePublicFileLinkResponse(link=link, fileCid=cid)

    async def GetUsageInfo(self, call: Call, request: space_pb2.GetUsageInfoRequest) -> space_pb2.GetUsageInfoResponse:
        raise RpcError(UNKNOWN, "Not implemented")
