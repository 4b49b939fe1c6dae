"""``/`` and ``/repositories/<name>``: the repositories, and the tags of one."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong

from ipfsreg.access.identity import Action
from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.gather import gather
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.names import Repository, Tag, parse_reference, parse_tag
from ipfsreg.registry.registry import Registry
from ipfsreg.web.gate import Entry
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import parameter
from ipfsreg.web.routes import Routes

from .answers import Answers, Place
from .attached import kinds_attached
from .contents import Contents
from .documents import Part
from .paths import HOME, REPOSITORIES, image_path, repository_path
from .text import clip, time_of
from .windows import Window, allowed_window_of, tags_window, window_of

REPOSITORIES_PAGE = 50
TAGS_PAGE = 50
AT_ONCE = 8
"""How many repositories, tags or manifests one page looks at at a time."""

PLATFORMS_SIZED = 12
"""Of so many platforms of an index a list says how large they are."""

_QUERY_MAX = 200
_COUNT_SECONDS = 2.0
"""How long a page waits for the number of a repository's tags, which a storage far away has to list."""


@dataclass(frozen=True, slots=True)
class RepositoryRow:
    """A repository in a list. ``tags`` and ``size``, in bytes, are None where they are not known."""

    name: Repository
    tags: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class TagRow:
    """A tag in a list. ``smallest`` and ``largest`` are the bytes of its images; without a digest it cannot be read.

    ``attached`` has words for what refers to it: that it has a signature, an SBOM.
    """

    tag: Tag
    digest: Digest | None = None
    kind: str = ""
    platforms: Sequence[str] = ()
    smallest: int | None = None
    largest: int | None = None
    pushed: datetime | None = None
    attached: Sequence[str] = ()


class RepositoryPages:
    """The lists."""

    def __init__(self, registry: Registry, workers: Workers, answers: Answers, contents: Contents) -> None:
        self._registry = registry
        self._workers = workers
        self._answers = answers
        self._contents = contents

    def add_to(self, routes: Routes) -> None:
        """Add the routes, but for `HOME`, which answers programs too."""
        self._answers.add(routes, REPOSITORIES, ["GET", "HEAD"], "open", self.open, Entry.ANYBODY)
        path = f"{REPOSITORIES}/<name:repository>"
        self._answers.add(routes, path, ["GET", "HEAD"], "tags", self.tags, Action.PULL)

    async def home(self, request: Request) -> bytes:
        """The repositories that the visitor may pull; a word about them where the visitor may not list any."""
        query, after = _query(request), parameter(request, "after") or ""
        image = _image_in(query)
        if image is not None:
            return self._answers.redirect(request, image_path(*image))
        window: Window[Repository] | None = None
        rows: list[RepositoryRow] = []
        visitors = self._answers.visitors
        if visitors.may(request, Action.CATALOG):
            part = self._registry.catalog, query, after[:_QUERY_MAX], REPOSITORIES_PAGE
            if visitors.is_open:
                window = await window_of(*part)
            else:
                window = await allowed_window_of(*part, visitors.lists(request), self._workers)
            rows = await self._rows(window.names)
        return await self._answers.page(
            request,
            "repositories.html",
            "Repositories",
            query=query,
            window=window,
            rows=rows,
            can_push=self._answers.can_change,
            problem=bool(rows) and all(row.tags is None for row in rows),
        )

    async def open(self, request: Request) -> bytes:
        """Lead to the repository that a form names."""
        name = (parameter(request, "name") or "").strip()
        return self._answers.redirect(request, repository_path(name[:_QUERY_MAX]) if name else HOME)

    async def tags(self, request: Request, repository: Repository) -> bytes:
        """The tags of a repository."""
        query, after = _query(request), parameter(request, "after") or ""
        # From the end, where the newest versions are, unless asked otherwise.
        order = "a" if parameter(request, "order") == "a" else ""
        tags = self._registry.tags
        window = await tags_window(tags, repository, query, after[:_QUERY_MAX], TAGS_PAGE, backwards=not order)

        async def row(tag: Tag) -> TagRow:
            return await self._tag(repository, tag)

        rows = await gather(row, window.names, AT_ONCE)
        return await self._answers.page(
            request,
            "tags.html",
            repository,
            where=[Place("Repositories", HOME)],
            repository=repository,
            tag_query=query,
            order=order,
            window=window,
            rows=rows,
            size=(await self._used([repository])).get(repository),
            deleted=_tag_in(parameter(request, "deleted")),
            may_delete=self._answers.may_delete(request, repository),
        )

    async def _rows(self, names: Sequence[Repository]) -> list[RepositoryRow]:
        used = await self._used(names)
        counts = await gather(self._count, names, AT_ONCE)
        return [RepositoryRow(name, count, used.get(name)) for name, count in zip(names, counts, strict=True)]

    async def _used(self, names: Sequence[Repository]) -> dict[str, int]:
        try:
            return dict((await self._registry.used(names)).of_repositories)
        except BucketError:  # that was logged
            return {}

    async def _count(self, name: Repository) -> int | None:
        counting = Deferred.fromCoroutine(self._registry.tags.count(name))
        try:
            return await counting.addTimeout(_COUNT_SECONDS, self._registry.clock)
        except (RegistryError, BucketError, TookTooLong):
            return None

    async def _tag(self, repository: Repository, tag: Tag) -> TagRow:
        try:
            manifest, document = await self._contents.document(repository, tag)
            sizes, platforms = [document.size], document.platforms
            if document.is_index:
                sizes = await self._sizes(repository, document.images[:PLATFORMS_SIZED])
            elif (config := await self._contents.config(repository, document)) is not None:
                platforms = [config.platform] if config.platform else []
            attached = await kinds_attached(self._registry, repository, manifest.digest, document)
        except (RegistryError, BucketError):
            return TagRow(tag)
        return TagRow(
            tag,
            manifest.digest,
            document.artifact_type or document.kind,
            platforms,
            min(sizes, default=None),
            max(sizes, default=None),
            time_of(manifest.noted),
            attached,
        )

    async def _sizes(self, repository: Repository, parts: Sequence[Part]) -> list[int]:
        found: list[int | None] = []
        for part in parts:  # one after the other: a page looks at several tags at a time
            try:
                found.append(await self._contents.size_of(repository, part))
            except (RegistryError, BucketError):
                continue
        return [size for size in found if size is not None]


def _image_in(query: str) -> tuple[Repository, Tag | Digest] | None:
    """The image that is searched for by a name such as ``HOST/team/app:1.0``, or None."""
    if not {":", "@"} & set(query.rpartition("/")[2]):
        return None
    for text in (query, query.partition("/")[2]):
        with suppress(RegistryError):
            return parse_reference(text)
    return None


def _tag_in(text: str | None) -> Tag | None:
    """The tag that somebody may have made up, and that is a tag all the same."""
    with suppress(RegistryError):
        return parse_tag(text or "")
    return None


def _query(request: Request) -> str:
    return clip((parameter(request, "q") or "").strip(), _QUERY_MAX)
