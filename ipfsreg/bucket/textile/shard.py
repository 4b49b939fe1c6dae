"""One bucket of the server: found or made once, and what is known of it."""

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ..errors import BucketError, Unavailable
from ..shared_work import SharedWork
from .client import BUCKETS, TextileClient
from .errors import Gone
from .levels import Place
from .proto import bucketsd_pb2
from .threads import Threads, thread_id_string

PATIENCE = 5.0
"""Seconds in which the bucket should appear in a thread that somebody else made: they are about to make it."""

SETTLE = 2.0
"""Seconds after which two that made a bucket at the same time see each other's."""


class Shard:
    """A bucket of the server in a thread of its own. ``paths`` is how many paths it has, as far as is known.

    A server's answer about a bucket holds keys: none of it is kept but what is here, and none of it is logged.
    """

    _log = Logger()

    def __init__(
        self,
        client: TextileClient,
        threads: Threads,
        clock: IReactorTime,
        place: Place,
        thread: str,
        bucket: str,
        *,
        encrypted: bool,
    ) -> None:
        self.place = place
        self.paths = 0
        self.thread = ""
        self.key = ""
        self.private = encrypted
        self._client = client
        self._threads = threads
        self._clock = clock
        self._thread_name = place.thread_name(thread)
        self._bucket = bucket
        self._encrypted = encrypted
        self._finding = SharedWork(self._find)
        self._ensuring = SharedWork(self._ensure)
        self._was_there = False
        self._made_thread = False

    @property
    def is_full(self) -> bool:
        """Whether writes should go elsewhere."""
        return self.paths >= self.place.full_at

    @property
    def known(self) -> bool:
        """Whether it was found or made, be it lost since."""
        return self._was_there

    async def exists(self) -> bool:
        """Whether the server has it; then `key` and `thread` are known.

        :raises Unavailable: also where it was there before: an empty one in its place would look like a registry
            whose images were deleted.
        """
        if not self.key:
            await self._finding.outcome()
        return bool(self.key)

    async def ensure(self) -> None:
        """Find it, or make it where the server says that it is not there. Never made where it refuses to say."""
        if not self.key:
            await self._ensuring.outcome()

    def forget(self, key: str) -> None:
        """Look for it anew the next time: the server says that it does not know the thread, or a bucket of ``key``."""
        if key == self.key:
            self.key = ""
            self._threads.forget()

    def learn(self, root: bucketsd_pb2.Root) -> None:
        """Take what an answer says of the bucket."""
        self.paths = len(root.path_metadata)

    async def _find(self) -> None:
        thread = await self._threads.find(self._thread_name)
        found = thread is not None and await self._find_in(thread_id_string(thread))
        if not found and self._was_there:
            self._threads.forget()
            raise Unavailable(
                f"the bucket {self._bucket} in thread {self._thread_name} is gone from the server; it is not made anew "
                "before ipfsreg is started again",
                retry_after=60,
            )

    async def _find_in(self, thread: str) -> bool:
        try:
            found = await self._client.unary(
                BUCKETS, "List", bucketsd_pb2.ListRequest(), bucketsd_pb2.ListResponse, thread=thread
            )
        except Gone:
            return False  # a thread in which no bucket was ever made, or that was deleted since it was listed
        # Names are not unique. The first one made is ours, so that no later namesake takes its place.
        roots = [each for each in found.roots if each.name == self._bucket]
        if not roots:
            return False
        self._adopt(thread, min(roots, key=lambda each: (each.created_at, each.key)))
        return True

    async def _ensure(self) -> None:
        if await self.exists():
            return
        identifier, made = await self._threads.find_or_create(self._thread_name)
        thread = thread_id_string(identifier)
        self._made_thread = self._made_thread or made
        # Making a bucket is not atomic, but making a thread is: who made the thread makes the bucket.
        if self._made_thread or not await self._appears(thread):
            await self._create(thread)

    async def _appears(self, thread: str) -> bool:
        until = self._clock.seconds() + PATIENCE
        while not await self._find_in(thread):
            if self._clock.seconds() >= until:
                return False
            await deferLater(self._clock, PATIENCE / 10, lambda: None)
        return True

    async def _create(self, thread: str) -> None:
        first = self._made_thread
        self._made_thread = False  # if this fails, who knows whether the server makes it all the same
        request = bucketsd_pb2.CreateRequest(name=self._bucket, private=self._encrypted)
        try:
            created = await self._client.unary(
                BUCKETS, "Create", request, bucketsd_pb2.CreateResponse, thread=thread, slow=True
            )
        except Unavailable:
            raise
        except BucketError:
            self._made_thread = first
            raise
        if not first:
            await deferLater(self._clock, SETTLE, lambda: None)
        if not await self._find_in(thread):
            self._adopt(thread, created.root)
        self._log.info("Made the bucket {bucket} in thread {thread}.", bucket=self._bucket, thread=self._thread_name)

    def _adopt(self, thread: str, root: bucketsd_pb2.Root) -> None:
        self.thread = thread
        self.key = root.key
        self.private = bool(root.link_key)
        self._was_there = True
        self.learn(root)
        if self.private != self._encrypted:
            self._log.warn(
                "The bucket {bucket} is {found}encrypted, the configuration says otherwise; it stays as it is.",
                bucket=self._bucket,
                found="" if self.private else "not ",
            )
