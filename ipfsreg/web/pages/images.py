"""``/repositories/<name>:<tag>`` and ``/repositories/<name>@<digest>``: an image, an index or an artifact."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ipfsreg.access.identity import Action
from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.gather import gather
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.names import Repository, Tag, format_reference
from ipfsreg.registry.registry import Registry
from ipfsreg.registry.repository.manifests import StoredManifest
from ipfsreg.web.http.request import Request
from ipfsreg.web.routes import Routes

from .answers import Answers, Place
from .attached import attached_to
from .contents import Contents
from .documents import Config, Document, Part, Step
from .paths import HOME, REPOSITORIES, repository_path
from .repositories import AT_ONCE
from .text import time_of

_LEAST_SHARE = 4.0
_BAR = 1000.0


@dataclass(frozen=True, slots=True)
class Stripe:
    """A layer in the bar: where it begins and how wide it is, of `_BAR`."""

    begin: float
    width: float


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer, with the step that made it where the history tells."""

    part: Part
    stripe: Stripe
    step: Step | None


@dataclass(frozen=True, slots=True)
class PlatformRow:
    """An image of an index, which the repository may lack. ``size`` are the bytes of its layers, as far as known."""

    part: Part
    size: int | None
    is_here: bool = True


class ImagePages:
    """What there is to see of one manifest.

    ``shows`` says whether a repository's content is to be had by CID.
    """

    def __init__(
        self,
        registry: Registry,
        answers: Answers,
        contents: Contents,
        shows: Callable[[str], bool],
    ) -> None:
        self._registry = registry
        self._answers = answers
        self._contents = contents
        self._shows = shows

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        name = f"{REPOSITORIES}/<name:repository>"
        self._answers.add(routes, f"{name}:<tag:reference>", ["GET", "HEAD"], "tag", self.image, Action.PULL)
        self._answers.add(routes, f"{name}@<digest:reference>", ["GET", "HEAD"], "digest", self.image, Action.PULL)

    async def image(self, request: Request, repository: Repository, reference: Tag | Digest) -> bytes:
        """The page of a manifest."""
        registry = self._registry
        manifest, document = await self._contents.document(repository, reference)
        config = await self._contents.config(repository, document)
        tree = await attached_to(registry, repository, manifest.digest, document)
        cid = await self._cid(repository, manifest)
        platforms = await self._platforms(repository, document)
        is_digest = isinstance(reference, Digest)
        return await self._answers.page(
            request,
            "image.html",
            format_reference(repository, reference),
            where=[Place("Repositories", HOME), Place(repository, repository_path(repository))],
            repository=repository,
            reference=str(reference),
            is_digest=is_digest,
            manifest=manifest,
            document=document,
            config=config,
            platforms=platforms,
            layers=_layers(document, config),
            pushed=time_of(manifest.noted),
            tree=tree,
            cid=cid,
            by_cid=cid if registry.images_by_cid is not None else None,
            may_delete=not is_digest and self._answers.may_delete(request, repository),
        )

    async def _platforms(self, repository: Repository, document: Document) -> Sequence[PlatformRow]:
        if not document.is_index:
            return ()

        async def row(part: Part) -> PlatformRow:
            try:
                return PlatformRow(part, await self._contents.size_of(repository, part))
            except (RegistryError, BucketError):
                return PlatformRow(part, None, is_here=False)

        return await gather(row, document.parts, AT_ONCE)

    async def _cid(self, repository: Repository, manifest: StoredManifest) -> str | None:
        try:
            return await self._registry.manifests.cid(manifest) if self._shows(repository) else None
        except (RegistryError, BucketError):
            return None


def _layers(document: Document, config: Config | None) -> Sequence[LayerRow]:
    """The layers, each as wide in the bar as its share of the bytes, and wide enough to be seen."""
    if document.is_index:
        return ()
    steps = {step.layer: step for step in config.history if step.layer is not None} if config else {}
    parts = document.parts
    total = sum(part.size for part in parts) or 1
    wide = [max(_LEAST_SHARE, min(1.0, part.size / total) * _BAR) for part in parts]
    scale = _BAR / sum(wide) if wide else 1.0
    rows, begin = [], 0.0
    for number, (part, width) in enumerate(zip(parts, wide, strict=True)):
        stripe = Stripe(round(begin, 2), round(width * scale, 2))
        rows.append(LayerRow(part, stripe, steps.get(number)))
        begin += width * scale
    return rows
