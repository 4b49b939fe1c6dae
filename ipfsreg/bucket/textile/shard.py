"""One bucket of the server: found or made once, and what is known of it."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, NotFound, Refused, Unavailable
from ipfsreg.flow.single_flight import FreshFlight, SingleFlight

from .capacity import EMPTY, Capacity
from .known_files import KnownFiles
from .paths import FOLDED, FORMAT_FILE, SEED, fold
from .placement import BucketName, Form, Place
from .proto import bucketsd_pb2
from .remote_reader import get_small
from .server.bucket_calls import BucketCalls
from .server.client import TextileClient
from .server.encoding import to_base32
from .server.errors import Gone, Undecryptable, Unresolved
from .sharing import check_shown, get_root

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds to wait for the bucket in a thread that somebody else has just made: who makes a thread makes its bucket."""

FORMAT_MAX = 64
"""How long the file may be that says how paths are written."""

SETTLE = 2.0
"""Seconds after which two daemons that made a bucket at the same time see each other's."""


class Finder(Protocol):
    """What tells a bucket its thread: `Threads` is the usual one."""

    async def find(self, name: str) -> bytes | None:
        """A thread's id, or None where there is none."""

    async def find_or_create(self, name: str) -> tuple[bytes, bool]:
        """A thread's id, and whether it was made for this call."""

    def forget(self) -> None:
        """Ask the server anew the next time."""


class Shard(BucketCalls):
    """A bucket of the server in a thread of its own. ``wanted`` says what it should be when it is made.

    ``capacity`` is how much more it takes, ``owner`` the public key of who made it, if anybody in particular. It is
    ``marked`` when nothing has to be written there that says how paths are written.
    ``known_files`` are those that were pushed lately.

    A server's answer about a bucket holds keys: none of it is kept but what is here, and none of it is logged.
    """

    _log = Logger()

    def __init__(
        self,
        client: TextileClient,
        threads: Finder,
        clock: IReactorTime,
        place: Place,
        name: BucketName,
        wanted: Callable[[], Form],
    ) -> None:
        super().__init__(client)
        self.place = place
        self.capacity = Capacity(place)
        self.private = False
        self.marked = True
        self.owner = ""
        self._threads = threads
        self._clock = clock
        self._name = name
        self._wanted = wanted
        self.known_files = KnownFiles()
        self._rooting = FreshFlight(self._root, clock)
        self._finding: SingleFlight[None] = SingleFlight(self._find)
        self._ensuring: SingleFlight[None] = SingleFlight(self._ensure)
        self._was_there = False
        self._made_thread = False
        self._making = False

    @property
    def known(self) -> bool:
        """Whether it was found or made, be it lost since."""
        return self._was_there

    @property
    def form(self) -> Form:
        """What it is, once it is known."""
        return Form(self.private, self.folded)

    def at(self, path: str) -> str:
        """A plain path as it is written here, once the bucket is known."""
        return fold(path) if self.folded else path

    @property
    def is_empty(self) -> bool:
        """Whether there is no file of ours in it."""
        return self.capacity.paths <= EMPTY + self.folded

    async def exists(self) -> bool:
        """Whether the server has it; then `key` and `thread` are known.

        :raises Unavailable: also where it was there before: an empty one in its place would look like a registry
            whose images were deleted.
        """
        if not self.key:
            # One that is being made is not settled yet: another daemon's may be the one that stays.
            await (self._ensuring if self._making else self._finding).outcome()
        return bool(self.key)

    async def root(self) -> bucketsd_pb2.Root:
        """The bucket as the server has it after this was called: one call for all who ask at a time."""
        return await self._rooting.outcome()

    async def _root(self) -> bucketsd_pb2.Root:
        root = await get_root(self)
        self.learn(root)
        return root

    async def ensure(self) -> None:
        """Find it, or make it where the server says that it is not there. Never made where it refuses to say."""
        if not self.key:
            await self._ensuring.outcome()

    async def ask(self, question: "Callable[[Shard], Awaitable[T]]") -> T:
        """Ask the server about it; where the bucket is not known there (any more), look for it and ask once more.

        :raises Refused: where all of the bucket is hidden from this daemon, for then the server says of everything
            that it is not there.
        """
        key = self.key
        try:
            try:
                return await question(self)
            except Gone:
                self.forget(key)
                if not await self.exists() or self.key == key:
                    raise
                return await question(self)
        except Undecryptable as error:
            if self.client.owns(self.owner):
                raise
            raise Refused(f"[textile] identity_file has no role there, or it is damaged: {error}") from None
        except (NotFound, Unresolved):
            if not self.client.owns(self.owner):
                await get_root(self)
            raise

    def forget(self, key: str) -> None:
        """Look for it anew the next time: the server says that it does not know the thread, or a bucket of ``key``."""
        if key == self.key:
            self.key = ""
            self._threads.forget()

    def learn(self, root: bucketsd_pb2.Root) -> None:
        """Take what an answer says of the bucket: of a large one in the next turns of the reactor.

        :raises Refused: where it hides the bucket; see `check_shown`.
        """
        check_shown(root)
        self._step(self.capacity.learn(root))

    def note_marked(self) -> None:
        """`FORMAT_FILE` was written."""
        self.marked = True

    def _step(self, steps: Iterator[None]) -> None:
        for _ in steps:
            self._clock.callLater(0, self._step, steps)
            return

    async def _find(self) -> None:
        thread = await self._threads.find(self._name.thread)
        found = thread is not None and await self._find_in(to_base32(thread))
        if not found and self._was_there:
            self._threads.forget()
            raise Unavailable(
                f"the bucket {self._name.bucket} in thread {self._name.thread} is gone from the server; it is not made "
                "anew before ipfsreg is started again",
                retry_after=60,
            )

    async def _find_in(self, thread: str) -> bool:
        try:
            found = await BucketCalls(self.client, thread).call(
                "List", bucketsd_pb2.ListRequest(), bucketsd_pb2.ListResponse
            )
        except Gone:
            return False  # a thread in which no bucket was ever made, or that was deleted since it was listed
        # Names are not unique. The first one made is ours, so that no later namesake takes its place.
        roots = [each for each in found.roots if each.name == self._name.bucket]
        if not roots:
            return False
        await self._adopt(thread, min(roots, key=lambda each: (each.created_at, each.key)))
        return True

    async def _ensure(self) -> None:
        if await self.exists():
            return
        identifier, made = await self._threads.find_or_create(self._name.thread)
        thread = to_base32(identifier)
        self._made_thread = self._made_thread or made
        # Making a bucket is not atomic, but making a thread is: who made the thread makes the bucket.
        if self._made_thread or not await self._appears(thread):
            self._making = True
            try:
                await self._create(thread)
            finally:
                self._making = False

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
        request = bucketsd_pb2.CreateRequest(name=self._name.bucket, private=self._wanted().private)
        try:
            created = await BucketCalls(self.client, thread).call(
                "Create", request, bucketsd_pb2.CreateResponse, slow=True
            )
        except Unavailable:
            raise
        except BucketError:
            self._made_thread = first
            raise
        if not first:
            await deferLater(self._clock, SETTLE, lambda: None)
        if not await self._find_in(thread):
            await self._adopt(thread, created.root)
        self._log.info(
            "Made the bucket {bucket} in thread {thread}.", bucket=self._name.bucket, thread=self._name.thread
        )

    async def _adopt(self, thread: str, root: bucketsd_pb2.Root) -> None:
        check_shown(root)
        wanted = self._wanted()
        self.folded, self.marked = await self._format(thread, root, wanted)
        self.thread = thread
        self.key = root.key
        self.private = bool(root.link_key)
        self.owner = root.owner
        self._was_there = True
        self.learn(root)
        if self.private != wanted.private:
            self._log.warn(
                "The bucket {name.bucket} in thread {name.thread} is {found}encrypted and should be otherwise; it "
                "stays so. Nothing is served by CID.",
                name=self._name,
                found="" if self.private else "not ",
            )

    async def _format(self, thread: str, root: bucketsd_pb2.Root, wanted: Form) -> tuple[bool, bool]:
        """Whether paths are folded in a bucket, and whether it says so already."""
        if not root.link_key or not root.version:  # without a version the server keeps no list of paths
            return False, True
        if FORMAT_FILE in root.path_metadata:
            bucket = BucketCalls(self.client, thread, root.key)
            return await get_small(bucket, FORMAT_FILE, FORMAT_MAX) == FOLDED, True
        is_empty = root.path_metadata.keys() <= {"", SEED}
        return is_empty and wanted.folded, not (is_empty and wanted.folded)
