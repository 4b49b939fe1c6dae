"""``/v2/<name>/manifests/<reference>``."""

from traceback import clear_frames

from ipfsreg.access.identity import Action
from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import RegistryError, TooManyTags
from ipfsreg.registry.events.event import EventAction, Target
from ipfsreg.registry.names import Repository, Tag, parse_tag
from ipfsreg.registry.repository.manifests import Manifests
from ipfsreg.web.http.budget import Budget
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import CID_HEADER, parameters, reply
from ipfsreg.web.routes import Routes
from ipfsreg.web.teller import Teller

from .answers import answer_manifest
from .converters import path

TAG_HEADERS_MAX = 3000
"""How long the headers that name the tags of one request may be, in bytes."""

_TAG_HEADER = "OCI-Tag"


class ManifestRoutes:
    """Pushing, pulling and deleting manifests (distribution-spec, "Pulling manifests" and so on)."""

    def __init__(self, manifests: Manifests, dags: Dags, most: tuple[int, int], memory: Budget, teller: Teller) -> None:
        """``most`` is how many bytes a manifest may have, and how many tags one request may set."""
        self._manifests = manifests
        self._dags = dags
        self._max_size, self._max_tags = most
        self._memory = memory
        self._teller = teller

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        one = "/v2/<repository:repository>/manifests/<reference:reference>"
        routes.add(one, ["GET", "HEAD"], "manifest-get", self.get, Action.PULL)
        routes.add(one, ["PUT"], "manifest-put", self.put, Action.PUSH)
        routes.add(one, ["DELETE"], "manifest-delete", self.delete, Action.DELETE)

    async def get(self, request: Request, repository: Repository, reference: Tag | Digest) -> bytes:
        """The manifest as it was pushed."""
        manifest = await self._manifests.get(repository, reference)
        self._teller.manifest_pulled(request, repository, reference, manifest)
        return await answer_manifest(request, manifest, self._dags, immutable=isinstance(reference, Digest))

    async def put(self, request: Request, repository: Repository, reference: Tag | Digest) -> bytes:
        """Store a manifest and point a tag, or the tags of ``tag=`` parameters, to it."""
        tags = _tags(request, self._max_tags)
        expected = reference if isinstance(reference, Digest) else None
        if not isinstance(reference, Digest) and reference not in tags:
            tags.append(reference)
        content_type = (request.header("content-type") or "").partition(";")[0].strip()
        with self._memory.lease(request.give_up_body) as lease:
            content = await request.body.read(self._max_size, lease)
            try:
                stored = await self._manifests.put(repository, content, content_type.lower(), expected, tags)
            except RegistryError as error:
                # The exception and its frames hold each other, and with them the manifest, until Python looks for such.
                del content
                error.__context__ = None
                clear_frames(error.__traceback__)
                raise
        headers: dict[str, object] = {
            "Location": path(repository, "manifests", reference),
            "Docker-Content-Digest": stored.digest,
            CID_HEADER: await self._dags.cid_text(stored.digest, len(content)),
            "OCI-Subject": stored.subject,
        }
        if expected is not None and stored.tags:
            for tag in stored.tags:
                request.add_header(_TAG_HEADER, tag)
        for pointing in stored.tags or (None,):
            target = Target(repository, stored.digest, pointing, stored.media_type, len(content))
            await self._teller.changed(request, EventAction.PUSH, target)
        return reply(request, 201, headers)

    async def delete(self, request: Request, repository: Repository, reference: Tag | Digest) -> bytes:
        """Delete a tag, or a manifest with all its tags."""
        if isinstance(reference, Digest):
            await self._manifests.delete(repository, reference)
            target = Target(repository, reference)
        else:
            await self._manifests.delete_tag(repository, reference)
            target = Target(repository, tag=reference)
        await self._teller.changed(request, EventAction.DELETE, target)
        return reply(request, 202, {})


def _tags(request: Request, most: int) -> list[Tag]:
    """The tags of the ``tag=`` parameters, each once; ``most`` are allowed.

    :raises TooManyTags: where the answer could not name them all: proxies take 4 to 8 KiB of headers, and answer 502
        for more, when all is done already (distribution-spec, "Pushing Manifests with Tags": 414).
    """
    tags = list(dict.fromkeys(parse_tag(text) for text in parameters(request, "tag")))
    if len(tags) > most or sum(len(f"{_TAG_HEADER}: {tag}\r\n") for tag in tags) > TAG_HEADERS_MAX:
        raise TooManyTags(f"at most {most} tags at once, and {TAG_HEADERS_MAX} bytes of {_TAG_HEADER} headers")
    return tags
