"""All buckets of the server that make one bucket, and which of them a path is read from and written to."""

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.errors import Full, Refused
from ipfsreg.flow.gather import gather

from .namesakes import Namesakes
from .options import TextileOptions
from .placement import LEVELS, BucketName, Form, Place, all_places, place_of
from .server.client import TextileClient
from .server.threads import Threads
from .shard import Shard

AT_ONCE = 8
"""How many buckets of the server are asked at once."""


class Shards:
    """Which buckets there are is known from the list of threads; each is looked up when it is needed first."""

    def __init__(self, options: TextileOptions, client: TextileClient, clock: IReactorTime) -> None:
        self._options = options
        self._client = client
        self._clock = clock
        self._threads = Threads(client, clock)
        self._shards: dict[Place, Shard] = {}
        self._namesakes = Namesakes(client, self._threads, clock, lambda: self.first)
        self._names = [(place, place.thread_name(options.thread)) for place in reversed(list(all_places()))]

    def at(self, place: Place) -> Shard:
        """The bucket of the server at a place, which may not exist yet."""
        if place not in self._shards:
            self._shards[place] = Shard(
                self._client,
                self._threads,
                self._clock,
                place,
                BucketName(place.thread_name(self._options.thread), self._options.bucket),
                lambda: self.first.form if place.level else Form(self._options.encrypted, folded=True),
            )
        return self._shards[place]

    @property
    def first(self) -> Shard:
        """The one that has the names which the user gave."""
        return self.at(Place(0, 0))

    @property
    def private(self) -> bool | None:
        """Whether one of them is encrypted; None before the first was found. It may be asked in any thread."""
        known = [shard for shard in tuple(self._shards.values()) if shard.known]
        if any(shard.private for shard in known):
            return True
        return False if any(shard.place.level == 0 for shard in known) else None

    async def all(self) -> Sequence[Shard]:
        """All that exist, the highest level first."""
        return [*await _existing([self.at(place) for place in await self._listed()]), *await self._others()]

    async def listed_since(self, since: float) -> None:
        """Have the list of threads be one that was asked for after ``since``."""
        await self._threads.known(since)

    async def look_for_all(self) -> None:
        """Look all of them up, one after the other."""
        for place in await self._listed():
            await self.at(place).exists()

    async def for_reading(self, path: str, since: float | None = None) -> Sequence[Shard]:
        """Those that may have a path, the highest level first; ``since`` as in `Threads.known`."""
        places = {place_of(path, level) for level in range(LEVELS)}
        found = await _existing([self.at(place) for place in await self._listed(since) if place in places])
        return [*found, *await self._others()]

    async def for_writing(self, path: str, size: int) -> Shard:
        """The one that a path is written to with so many bytes, which may not exist yet.

        :raises Full: where there is none.
        :raises Refused: where it would have to be made, and the first one is somebody else's: who makes a bucket owns
            it, and nobody else could add a file to it.
        """
        for level in range(await self.top(path), LEVELS):
            shard = self.at(place_of(path, level))
            if level:
                await shard.exists()
            if shard.capacity.takes(shard.at(path), size):
                if not shard.key and not self._client.owns(self.first.owner):
                    raise Refused(
                        f"the bucket {self._options.bucket} has to grow, which only its owner {self.first.owner} can "
                        "have it do: use a copy of that identity's file as [textile] identity_file"
                    )
                return shard
        raise Full(f"the bucket {self._options.bucket} has as many paths as there can be where {path} belongs")

    async def top(self, path: str, since: float | None = None) -> int:
        """The highest level at which there is a bucket: what is written has to be found before what is below it.

        ``since`` as in `Threads.known`; the path's own bucket is the first that is looked for.
        """
        listed = await self._listed(since)
        for level in sorted({place.level for place in listed}, reverse=True):
            shards = [self.at(place) for place in listed if place.level == level]
            own = place_of(path, level)
            # Nearly always one that was used before, or the path's own, is there: no need to look for all of them.
            if any(shard.key for shard in shards):
                return level
            if await _existing([shard for shard in shards if shard.place == own]) or await _existing(shards):
                return level
        return 0

    async def _others(self) -> Sequence[Shard]:
        """Those in other threads of the first one's name."""
        if not self.first.key:
            return []
        return await self._namesakes.all(BucketName(self._options.thread, self._options.bucket))

    async def _listed(self, since: float | None = None) -> Sequence[Place]:
        """The places at which there may be a bucket, the highest level first: those that have a thread."""
        if not await self.first.exists():
            return []  # it comes into being with the first file that is written, or when the daemon starts
        known = await self._threads.known(since)
        found = {place for place, shard in self._shards.items() if shard.known}
        return [place for place, name in self._names if name in known or place in found]


async def _existing(shards: Sequence[Shard]) -> Sequence[Shard]:
    if all(shard.key for shard in shards):
        return shards
    exist = await gather(Shard.exists, shards, AT_ONCE)
    return [shard for shard, exists in zip(shards, exist, strict=True) if exists]
