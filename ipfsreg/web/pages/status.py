"""``/status``: how much is stored, what the garbage collector did and would do, and whether the storage is well."""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong

from ipfsreg import __version__
from ipfsreg.access.identity import Action
from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.registry import Registry, Usage
from ipfsreg.web.http.request import Request
from ipfsreg.web.routes import Routes

from .answers import Answers, Place
from .paths import HOME, STATUS
from .text import clip, time_of

_SECONDS = 5.0

Told = Callable[[], Awaitable[Mapping[str, str]]]
"""What a storage says of its server, for people; see `Opened.told`."""


async def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class StatusOptions:
    """What the page shows beside what the registry knows.

    ``directory`` is the daemon's own. With ``looks_for_garbage`` it is looked each time what could be freed: not where
    that is another daemon's matter, or reading costs.
    """

    told: Told = _nothing
    directory: Path | None = None
    looks_for_garbage: bool = True


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that the storage says."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of the disk that the daemon's directory is on."""

    free: int
    size: int


class StatusPage:
    """For who may `Action.ADMIN`. Little is read for it but what is at hand, and for a few seconds at most."""

    def __init__(self, registry: Registry, workers: Workers, answers: Answers, options: StatusOptions) -> None:
        self._registry = registry
        self._workers = workers
        self._answers = answers
        self._options = options
        self._began = registry.now()

    def add_to(self, routes: Routes) -> None:
        """Add the route."""
        self._answers.add(routes, STATUS, ["GET", "HEAD"], "status", self.show, Action.ADMIN)

    async def show(self, request: Request) -> bytes:
        """The page."""
        registry = self._registry
        problem = await self._problem()
        last, progress = registry.collector.last, registry.collector.progress
        limits = registry.limits
        garbage = None
        if not problem and self._options.looks_for_garbage:
            try:
                garbage = await registry.collector.would_free()
            except BucketError as error:
                problem = clip(str(error), 500)
        # Only what does not change: the page is made in a thread.
        return await self._answers.page(
            request,
            "status.html",
            "Status",
            where=[Place("Repositories", HOME)],
            version=__version__,
            began=time_of(self._began),
            bucket=registry.name,
            read_only=self._answers.read_only,
            problem=problem,
            facts=[] if problem else await self._facts(),
            usage=await self._usage(),
            disk=await self._disk(),
            uploads=registry.uploads.count,
            received=registry.uploads.received,
            total_quota=limits.quotas.total,
            repositories=None if problem else await registry.catalog.count(),
            garbage=garbage,
            looks_for_garbage=self._options.looks_for_garbage,
            collected_at=None if last is None else time_of(last[0]),
            collection=None if last is None else last[1],
            collecting=None if progress is None else str(progress),
            grace=limits.gc_grace,
            untagged=limits.gc_untagged,
        )

    async def _problem(self) -> str:
        try:
            await self._registry.readiness.check()
        except BucketError as error:
            return clip(str(error), 500)
        return ""

    async def _facts(self) -> list[Fact]:
        telling = Deferred.fromCoroutine(self._asked())
        try:
            told = await telling.addTimeout(_SECONDS, self._registry.clock)
        except TookTooLong:
            return [Fact("Server", f"did not answer within {_SECONDS:g} seconds")]
        except BucketError as error:
            return [Fact("Server", clip(str(error), 300))]
        return [Fact(name, clip(value, 300)) for name, value in told.items()]

    async def _asked(self) -> Mapping[str, str]:
        return await self._options.told()

    async def _usage(self) -> Usage | None:
        try:
            return await self._registry.used()
        except BucketError:  # that was logged
            return None

    async def _disk(self) -> Disk | None:
        if self._options.directory is None:
            return None
        try:
            found = await self._workers.run(os.statvfs, self._options.directory)
        except OSError:
            return None
        return Disk(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)
