"""The daemon's bucket is looked for, and made once, before anything names it.

A call that names a bucket which is not there leaves junk in the daemon's account (docs/protocols/space.md, "Buckets"),
so none is made before the daemon has listed the bucket.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ipfsreg.bucket.errors import Refused, bucket_error
from ipfsreg.flow.durable import write_durably
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.flow.workers import Workers

from .client import SpaceClient
from .errors import NotReady, SpaceBucketGone
from .proto import space_pb2

READY_SECONDS = 5.0
"""Seconds that a request waits for a daemon which takes a minute to say that it is not ready."""

SIMILAR = 0.75
"""From this likeness on (`difflib`) a name is taken for another one mistyped."""


class KnownBuckets:
    """The keys of the buckets that were used here by name, in a file of this disk: a line ``<key> <name>`` for each.

    The name alone does not tell: with another daemon, or one that was begun anew, a bucket of the name is made or found
    that lacks all that was pushed. The user removes the file, or a line of it, to have another bucket used. Blocking,
    for worker threads.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def key(self, name: str) -> str | None:
        """The key of the bucket that was used under a name, or None for none. Raises `OSError`."""
        return self._read().get(name)

    def keep(self, name: str, key: str) -> None:
        """Remember the bucket of a name, durably. Raises `OSError`."""
        known = self._read() | {name: key}
        write_durably(self.file, "".join(f"{key} {name}\n" for name, key in known.items()).encode())

    def _read(self) -> dict[str, str]:
        try:
            text = self.file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return {}
        found = (line.partition(" ") for line in text.splitlines())
        return {name: key for key, space, name in found if space}


class BucketFinder:
    """Finds the bucket of a name, or makes it, and refuses another bucket than ``known`` has for the name."""

    _log = Logger()

    def __init__(
        self, client: SpaceClient, bucket: str, known: KnownBuckets, workers: Workers, clock: IReactorTime
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._known_buckets = known
        self._workers = workers
        self._clock = clock
        self._known = False
        self._finding = SingleFlight(self._find)

    async def ensure(self) -> None:
        """See to it that the daemon has the bucket.

        :raises NotReady: where the daemon has not said so within `READY_SECONDS`; it is asked on.
        :raises BucketError: where it cannot be asked, or the user has to do something first.
        """
        if self._known:
            return
        try:
            await self._finding.outcome().addTimeout(READY_SECONDS, self._clock)
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
        try:
            known = await self._workers.run(self._known_buckets.key, self._bucket)
        except OSError as error:
            raise bucket_error(error) from error
        keys = await self._keys()
        key = keys.get(self._bucket)
        if known is not None and key != known:
            self._refuse_other(key)
        if key is None:
            key = await self._make(list(keys))
        if known is None:
            try:
                await self._workers.run(self._known_buckets.keep, self._bucket, key)
            except OSError as error:
                raise bucket_error(error) from error
        self._known = True

    def _refuse_other(self, key: str | None) -> None:
        mean_it = f"if you mean to go on without what was pushed, remove {self._known_buckets.file}"
        if key is None:
            raise SpaceBucketGone(
                f"the bucket {self._bucket}, which was used here, is not on the Space Daemon: look at [space] url; "
                f"{mean_it}, and it is made anew"
            )
        raise Refused(
            f"the Space Daemon has another bucket {self._bucket} than the one that was used here: look at [space] url; "
            f"{mean_it}"
        )

    async def _make(self, names: Sequence[str]) -> str:
        similar = _similar(self._bucket, names)
        if similar is not None:
            raise Refused(
                f"the Space Daemon has no bucket {self._bucket!r}, but {similar!r}: correct [space] bucket, or "
                f"make it with `ipfsreg space create {self._bucket}`"
            )
        key = await create_bucket(self._client, self._bucket)
        self._log.info("Made the bucket {bucket}.", bucket=self._bucket)
        return key

    async def _keys(self) -> Mapping[str, str]:
        """The keys of the account's buckets by name; none where the daemon has nothing but a record of ours."""
        request = space_pb2.ListBucketsRequest()
        try:
            found = await self._client.call("ListBuckets", request, space_pb2.ListBucketsResponse)
        except SpaceBucketGone as error:
            if error.bucket == self._bucket:
                return {}
            raise Refused(
                f"the Space Daemon cannot list its buckets, since something once asked for {error.bucket!r}, which "
                f"there is not: make it with `ipfsreg space create {error.bucket}`, and leave it empty"
            ) from None
        return {bucket.name: bucket.key for bucket in found.buckets}


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


async def create_bucket(client: SpaceClient, name: str) -> str:
    """Make a bucket; where there is one of the name nothing happens. Answers its key.

    :raises BucketError: where the daemon did not make it.
    """
    request = space_pb2.CreateBucketRequest(slug=name)
    made = await client.call("CreateBucket", request, space_pb2.CreateBucketResponse)
    return made.bucket.key
