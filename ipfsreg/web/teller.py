"""Requests that read or changed something become events of the registry."""

from ipfsreg.registry.digest import Digest
from ipfsreg.registry.events.event import BLOB, EventAction, Origin, Target
from ipfsreg.registry.events.events import Events
from ipfsreg.registry.names import Tag
from ipfsreg.registry.repository.manifests import StoredManifest

from .http.forwarded import TrustedProxies
from .http.request import Request

_TEXT_MAX = 256  # of a client's name for itself, and of its name for us


class Teller:
    """Tells of what requests have done. ``clients`` are the proxies that say who the client is."""

    def __init__(self, events: Events, clients: TrustedProxies) -> None:
        self._events = events
        self._clients = clients

    def manifest_pulled(
        self, request: Request, repository: str, reference: Tag | Digest, manifest: StoredManifest
    ) -> None:
        """A manifest was asked for, by tag or digest: also by HEAD, for some clients pull what they have not at all."""
        if self._events.wants(EventAction.PULL):
            tag = None if isinstance(reference, Digest) else reference
            target = Target(repository, manifest.digest, tag, manifest.media_type, len(manifest.content))
            self._events.pulled(target, self._origin(request))

    def blob_pulled(self, request: Request, repository: str, digest: Digest, size: int | None) -> None:
        """A blob, or a part of it, was asked for by GET."""
        if self._events.wants(EventAction.PULL):
            self._events.pulled(Target(repository, digest, None, BLOB, size), self._origin(request))

    async def changed(self, request: Request, action: EventAction, target: Target) -> None:
        """A change is durable. It returns when its event is; see `Events.changed`."""
        if self._events.wants(action):
            await self._events.changed(action, target, self._origin(request))

    def _origin(self, request: Request) -> Origin:
        return Origin(
            user=str(getattr(request.user, "label", "")),
            address=self._clients.address_of(request),
            scheme="https" if self._clients.is_secure(request) else "http",
            host=(request.header("host") or "")[:_TEXT_MAX],
            method=request.method.decode("ascii")[:16],
            agent=(request.header("user-agent") or "")[:_TEXT_MAX],
            request=request.identifier,
        )
