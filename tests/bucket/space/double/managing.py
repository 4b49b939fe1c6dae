"""Making, listing and emptying buckets (docs/protocols/space.md, "Buckets")."""

from datetime import UTC, datetime

from ipfsreg.bucket.space.proto import space_pb2
from tests.bucket.textile.double.bucket import Bucket
from tests.bucket.textile.double.tree import Directory, Node, follow
from tests.grpcweb_double.call import Call

from .account import DEFAULT_BUCKET, Record
from .base import SpaceBase
from .cipher import MAC_SIZE, CorruptError

HIDDEN = {".textileseed", ".textile", ".DS_Store", ".Trashes", ".localized"}


class Managing(SpaceBase):
    """CreateBucket, ListBuckets, ListDirectory, ListDirectories and RemoveDirOrFile."""

    async def CreateBucket(self, call: Call, request: space_pb2.CreateBucketRequest) -> space_pb2.CreateBucketResponse:
        account = await self.initialised(call)
        await call.sleep(self.world.faults.create_seconds)
        bucket = self.create_now(account, request.slug or DEFAULT_BUCKET)
        return space_pb2.CreateBucketResponse(bucket=bucket_message(bucket))

    async def ListBuckets(self, call: Call, request: space_pb2.ListBucketsRequest) -> space_pb2.ListBucketsResponse:
        """One record without a bucket spoils the whole list: each is looked up, and the first failure ends it."""
        account = await self.initialised(call)
        found = [self.find_now(account, slug)[1] for slug in account.records]
        return space_pb2.ListBucketsResponse(buckets=map(bucket_message, found))

    async def ListDirectory(
        self, call: Call, request: space_pb2.ListDirectoryRequest
    ) -> space_pb2.ListDirectoryResponse:
        record, bucket = await self.find(call, request.bucket)
        listing = Listing(self, call, record, bucket, request.omitMembers)
        names = record.cipher.encrypt_path(request.path)
        entries = await listing.of(follow(bucket.root, names), names, below=False)
        return space_pb2.ListDirectoryResponse(entries=entries)

    async def ListDirectories(
        self, call: Call, request: space_pb2.ListDirectoriesRequest
    ) -> space_pb2.ListDirectoriesResponse:
        record, bucket = await self.find(call, request.bucket)
        listing = Listing(self, call, record, bucket, request.omitMembers)
        return space_pb2.ListDirectoriesResponse(entries=await listing.of(bucket.root, [], below=True))

    async def RemoveDirOrFile(
        self, call: Call, request: space_pb2.RemoveDirOrFileRequest
    ) -> space_pb2.RemoveDirOrFileResponse:
        """Only here: what the hub has of it stays there, and comes back with a restore."""
        record, bucket = await self.find(call, request.bucket)
        async with self.world.buckets.locked(call, bucket.key):
            draft = self.world.buckets.load(bucket.key, record.thread).draft()
            self.link(record, draft, request.path, None)
            await self.world.buckets.save(call, draft)
        return space_pb2.RemoveDirOrFileResponse()


class Listing:
    """The entries of a directory, as slowly as they come."""

    def __init__(self, service: SpaceBase, call: Call, record: Record, bucket: Bucket, omit_members: bool) -> None:
        self._world = service.world
        self._call = call
        self._record = record
        self._bucket = bucket
        self._omit_members = omit_members

    async def of(self, node: Node, names: list[str], *, below: bool) -> list[space_pb2.Entry]:
        """What is in a directory, and (`below`) in those in it. A file has nothing in it."""
        found: list[space_pb2.Entry] = []
        if not isinstance(node, Directory):
            return found
        for sealed, child in sorted(node.entries.items()):
            path = [*names, sealed]
            name = self._decrypted(sealed)
            if name in HIDDEN:
                continue
            faults = self._world.faults
            await self._call.sleep(0 if child.is_directory else faults.entry_seconds)
            await self._call.sleep(0 if self._omit_members else faults.member_seconds)
            self._call.check()
            found.append(self._entry(child, name, path))
            if below:
                found += await self.of(child, path, below=True)
        return found

    def _decrypted(self, name: str) -> str:
        try:
            return self._record.cipher.decrypt_name(name)
        except CorruptError:
            return name

    def _entry(self, node: Node, name: str, sealed: list[str]) -> space_pb2.Entry:
        path = "/".join(self._decrypted(segment) for segment in sealed)
        known = self._bucket.metadata.get("/".join(sealed))
        updated = time_text(known.updated_at if known is not None else self._bucket.updated_at)
        account = self._world.account
        members = [] if self._omit_members or account is None or not self._world.hub else [account.public_key]
        return space_pb2.Entry(
            path=path,
            isDir=node.is_directory,
            name=name,
            sizeInBytes=str(node.dag_size - MAC_SIZE if node.dag_size >= MAC_SIZE else node.dag_size),
            created=updated,
            updated=updated,
            fileExtension=name.rpartition(".")[2] if "." in name else "",
            ipfsHash=node.cid,
            isLocallyAvailable=not node.is_directory,
            backupCount=1 if path in self._record.mirror else 0,
            members=[space_pb2.FileMember(publicKey=key) for key in members],
        )


def bucket_message(bucket: Bucket) -> space_pb2.Bucket:
    """A bucket as callers see it: whose it is and whether it is backed up is never told."""
    return space_pb2.Bucket(
        key=bucket.key,
        name=bucket.name,
        path=bucket.path,
        createdAt=bucket.created_at,
        updatedAt=bucket.updated_at,
        itemsCount=len(bucket.root.entries),
    )


def time_text(nanoseconds: int) -> str:
    """RFC 3339."""
    return f"{datetime.fromtimestamp(nanoseconds / 1e9, UTC):%Y-%m-%dT%H:%M:%SZ}"
