"""Roles in buckets of the server that come into being after they were granted (docs/protocols/textile.md, "Roles").

`sharing` grants a role in all buckets that there are at that time. A bucket that is made later gets those of the
whole bucket from level 0, and a directory that appears in another bucket later those of its namesakes elsewhere: of
several the one that was changed last, so that what was revoked does not come back.
"""

from collections.abc import Mapping, Sequence

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError

from .proto import bucketsd_pb2
from .shard import Shard
from .shards import Shards
from .sharing import NotShareable, get_root, set_roles

NONE = bucketsd_pb2.PATH_ACCESS_ROLE_NONE


class Roles:
    """Carries roles to where they are missing, after each push. That costs a call only where there are any."""

    _log = Logger()

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._settled: set[tuple[str, str]] = set()
        """Pairs of bucket key and path for which nothing is left to be done."""
        self._carrying: DeferredLock = DeferredLock()

    async def carry(self, shard: Shard, path: str) -> None:
        """See to the roles of a bucket that a path was just pushed to. What fails is logged, and tried again."""
        if not self._missing(shard, path):
            return
        async with self._carrying:
            try:
                for directory in self._missing(shard, path):
                    await (self._carry_one(shard, directory) if directory else self._carry_all(shard))
                    self._settled.add((shard.key, directory))
            except BucketError as error:
                self._log.warn(
                    "Roles could not be carried over to a new bucket of the server ({error}); `ipfsreg share list` "
                    "shows where they differ.",
                    error=error,
                )

    def _missing(self, shard: Shard, path: str) -> Sequence[str]:
        """The directories of a path that have roles in other buckets, and none here, as far as is known.

        The empty one, which is all of the bucket, is among them where this daemon made it.
        """
        elsewhere = frozenset[str]().union(*(each.with_roles for each in self._shards.known() if each is not shard))
        if not (elsewhere or shard.is_new):
            return []
        parts = path.split("/")
        directories = ["/".join(parts[:length]) for length in range(1, len(parts))]
        missing = [each for each in directories if each in elsewhere and each not in shard.with_roles]
        if shard.is_new:
            missing.insert(0, "")
        return [each for each in missing if (shard.key, each) not in self._settled]

    async def _carry_all(self, shard: Shard) -> None:
        first = self._shards.first
        if shard is first:
            return
        there, here = await get_root(first), await get_root(shard)
        if not there.owner or not here.owner:
            return  # without owners everybody may do everything
        # Who owns the first bucket looks after all of them.
        wanted = {**_entry(there, "").roles, there.owner: bucketsd_pb2.PATH_ACCESS_ROLE_ADMIN}
        try:
            await self._equal(shard, "", _entry(here, "").roles, wanted, here.owner)
        except NotShareable as error:  # and will be the next time
            self._log.error(
                "A new bucket of the server is for this daemon's identity only, and not for those that have roles on "
                "the others: {error}",
                error=error,
            )

    async def _carry_one(self, shard: Shard, directory: str) -> None:
        others = [each for each in self._shards.known() if each is not shard and directory in each.with_roles]
        entries = [_entry(await get_root(each), directory) for each in others]
        here = await get_root(shard)
        own = _entry(here, directory)
        newest = max(entries, key=lambda entry: entry.updated_at, default=own)
        if here.owner and newest.updated_at > own.updated_at:
            await self._equal(shard, directory, own.roles, newest.roles, here.owner)

    async def _equal(
        self, shard: Shard, path: str, here: Mapping[str, int], wanted: Mapping[str, int], owner: str
    ) -> None:
        change = {
            who: wanted.get(who, NONE) for who in {*here, *wanted} if here.get(who, NONE) != wanted.get(who, NONE)
        }
        change.pop(owner, None)
        if not change:
            return
        await set_roles(shard, path, change)


def _entry(root: bucketsd_pb2.Root, path: str) -> bucketsd_pb2.Metadata:
    if path in root.path_metadata:
        return root.path_metadata[path]
    return bucketsd_pb2.Metadata() if path else root.metadata
