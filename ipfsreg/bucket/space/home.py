"""The daemon's bucket: looked for, and made once, before anything names it.

A call that names a bucket which is not there leaves junk in the daemon's account (fact sheet, section 4), so none is
made before the daemon has listed the bucket.
"""

from collections.abc import Sequence
from difflib import get_close_matches

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..errors import Refused
from ..shared_work import SharedWork
from .client import SpaceClient
from .errors import BucketGone, NotReady
from .proto import space_pb2

PATIENCE = 5.0
"""Seconds that a request waits for a daemon which takes a minute to say that it is not ready."""

SIMILAR = 0.75
"""From this likeness on (`difflib`) a name is taken for another one mistyped."""


class Home:
    """The bucket of a name."""

    _log = Logger()

    def __init__(self, client: SpaceClient, bucket: str, clock: IReactorTime) -> None:
        self._client = client
        self._bucket = bucket
        self._clock = clock
        self._known = False
        self._was_there = False
        self._finding = SharedWork(self._find)

    async def ensure(self) -> None:
        """See to it that the daemon has the bucket.

        :raises NotReady: where the daemon has not said so within `PATIENCE`; it is asked on.
        :raises BucketError: where it cannot be asked, or the user has to do something first.
        """
        if self._known:
            return
        try:
            await self._finding.outcome().addTimeout(PATIENCE, self._clock)
        except DeferredTimeout:
            raise NotReady(
                "the Space Daemon answers, but is not ready: after its start it waits for its makers' services for up "
                "to a minute"
            ) from None

    async def found(self) -> None:
        """As `ensure`, however long the daemon takes."""
        if not self._known:
            await self._finding.outcome()

    def forget(self) -> None:
        """Have the daemon list its buckets again before the next call: it was away, or does not know the bucket."""
        self._known = False

    async def _find(self) -> None:
        await check_account(self._client)
        names = await self._names()
        if self._bucket not in names:
            if self._was_there:
                raise BucketGone(
                    f"the bucket {self._bucket} is gone from the Space Daemon; it is not made anew before ipfsreg is "
                    "started again"
                )
            similar = _similar(self._bucket, names)
            if similar is not None:
                raise Refused(
                    f"the Space Daemon has no bucket {self._bucket!r}, but {similar!r}: correct [space] bucket, or "
                    f"make it with `ipfsreg space create {self._bucket}`"
                )
            await create_bucket(self._client, self._bucket)
            self._log.info("Made the bucket {bucket}.", bucket=self._bucket)
        self._known = self._was_there = True

    async def _names(self) -> Sequence[str]:
        """The names of the account's buckets; none where the daemon has nothing but a record of ours."""
        request = space_pb2.ListBucketsRequest()
        try:
            found = await self._client.call("ListBuckets", request, space_pb2.ListBucketsResponse)
        except BucketGone as error:
            if error.bucket == self._bucket:
                return []
            raise Refused(
                f"the Space Daemon cannot list its buckets, since something once asked for {error.bucket!r}, which "
                f"there is not: make it with `ipfsreg space create {error.bucket}`, and leave it empty"
            ) from None
        return [bucket.name for bucket in found.buckets]


async def check_account(client: SpaceClient) -> None:
    """See to it that the daemon takes the token and has a key pair.

    Unlike the calls about buckets this one does not wait for anything in the daemon.

    :raises BucketError: where it does not, or cannot be asked.
    """
    await client.call("GetPublicKey", space_pb2.GetPublicKeyRequest(), space_pb2.GetPublicKeyResponse)


def _similar(name: str, names: Sequence[str]) -> str | None:
    """The name that this one may be mistyped for; their case does not count."""
    folded = {each.casefold(): each for each in names}
    similar = get_close_matches(name.casefold(), folded, n=1, cutoff=SIMILAR)
    return folded[similar[0]] if similar else None


async def create_bucket(client: SpaceClient, name: str) -> None:
    """Make a bucket; where there is one of the name nothing happens.

    :raises BucketError: where the daemon did not make it.
    """
    request = space_pb2.CreateBucketRequest(slug=name)
    await client.call("CreateBucket", request, space_pb2.CreateBucketResponse)
