"""``/status``: how much is stored, what the garbage collector did, and whether the storage is well."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong

from ipfsreg.access.identity import Action
from ipfsreg.bucket.errors import BucketError
from ipfsreg.registry.registry import Registry, Usage
from ipfsreg.web.http.request import Request
from ipfsreg.web.routes import Routes

from .answers import Answers, Place
from .paths import HOME, STATUS
from .text import clip, time_of

_SECONDS = 5.0

Told = Callable[[], Awaitable[Mapping[str, str]]]
"""What a storage says of its server, for people; see `Opened.told`."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that the storage says."""

    name: str
    value: str


class StatusPage:
    """For who may `Action.ADMIN`. Nothing is read for it but what is at hand."""

    def __init__(self, registry: Registry, answers: Answers, told: Told) -> None:
        self._registry = registry
        self._answers = answers
        self._told = told

    def add_to(self, routes: Routes) -> None:
        """Add the route."""
        self._answers.add(routes, STATUS, ["GET", "HEAD"], "status", self.show, Action.ADMIN)

    async def show(self, request: Request) -> bytes:
        """The page."""
        registry = self._registry
        problem = await self._problem()
        facts = [] if problem else await self._facts()
        last = registry.collector.last
        limits = registry.limits
        return await self._answers.page(
            request,
            "status.html",
            "Status",
            where=[Place("Repositories", HOME)],
            bucket=registry.name,
            read_only=self._answers.read_only,
            problem=problem,
            facts=facts,
            usage=await self._usage(),
            total_quota=limits.quotas.total,
            repositories=None if problem else await registry.catalog.count(),
            collected_at=None if last is None else time_of(last[0]),
            collection=None if last is None else last[1],
            collecting=registry.collector.progress,
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
        return await self._told()

    async def _usage(self) -> Usage | None:
        try:
            return await self._registry.used()
        except BucketError:  # that was logged
            return None
