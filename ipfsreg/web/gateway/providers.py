"""``/routing/v1/providers/<cid>``: who has a block, which is this daemon or nobody (delegated routing)."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from twisted.internet.address import IPv4Address, IPv6Address

from ipfsreg.ipfs.cid import IDENTITY
from ipfsreg.ipfs.multiaddr import multiaddr
from ipfsreg.registry.content.cid_index import Allowed
from ipfsreg.registry.ipfs.blocks import Blocks
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import parameter, reply
from ipfsreg.web.routes import Routes

from .accept import preferred
from .gateway import read_cid

PROTOCOL = "transport-ipfs-gateway-http"

_JSON = "application/json"
_LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class AdvertisedAddress:
    """Where clients find this daemon.

    ``configured`` is its multiaddr; None takes the address by which the client came. That is the Host header only
    where ``knows_host`` says so: what a stranger wrote there must not end up in what others store.
    """

    configured: str | None
    knows_host: Callable[[Request], bool]

    def of(self, request: Request) -> str:
        """The address for a record."""
        return self.configured or _address_of(request, believes_host=self.knows_host(request))


class ProviderRoutes:
    """Answers for what is in repositories for which ``allowed`` says yes.

    ``peer_id`` stands for this daemon: a record has to have one, though no client asks for it over HTTP.
    """

    def __init__(
        self, blocks: Blocks, allowed: Allowed, address: AdvertisedAddress, peer_id: Callable[[], str]
    ) -> None:
        self._blocks = blocks
        self._allowed = allowed
        self._address = address
        self._peer_id = peer_id

    def add_to(self, routes: Routes) -> None:
        """Add the route."""
        routes.add("/routing/v1/providers/<cid>", ["GET", "HEAD"], "providers", self.providers)

    async def providers(self, request: Request, cid: str) -> bytes:
        """One record, or none (https://specs.ipfs.tech/routing/http-routing-v1/)."""
        parsed = read_cid(cid)
        address = self._address.of(request)
        has = parsed.hash_code != IDENTITY and await self._blocks.find(parsed, self._allowed) is not None
        records = []
        if has and _wants(request, address):
            records.append({"Schema": "peer", "ID": self._peer_id(), "Addrs": [address], "Protocols": [PROTOCOL]})
        media_type = preferred(request, [_JSON, _LINES])
        if media_type == _LINES:
            content = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        else:
            content = json.dumps({"Providers": records}).encode()
        # What is not here may be pushed in a moment; what is here may be deleted.
        seconds = 300 if has else 15
        # An address that was taken from this client's connection is for this client.
        scope = "private" if self._address.configured is None else "public"
        headers = {"Content-Type": media_type, "Cache-Control": f"{scope}, max-age={seconds}", "Vary": "Accept"}
        return reply(request, 200, headers, content)


def _wants(request: Request, address: str) -> bool:
    """Whether the client's filters let our record through (IPIP-484)."""
    protocols = _list(parameter(request, "filter-protocols"))
    if protocols and PROTOCOL not in protocols:
        return False
    filters = _list(parameter(request, "filter-addrs"))
    parts = set(address.split("/"))
    if any(each[1:] in parts for each in filters if each.startswith("!")):
        return False
    required = [each for each in filters if not each.startswith("!")]
    return not required or any(each in parts for each in required)


def _list(text: str | None) -> list[str]:
    return [each.strip().lower() for each in (text or "").split(",") if each.strip()]


def _address_of(request: Request, *, believes_host: bool) -> str:
    """The address by which the client came here: its Host header, where that can be believed, or the connection's."""
    secure = request.is_secure
    if believes_host:
        with suppress(ValueError):
            url = urlsplit(f"//{request.header('host') or ''}")
            return multiaddr(url.hostname or "", url.port or (443 if secure else 80), secure=secure)
    host = request.host
    if isinstance(host, (IPv4Address, IPv6Address)):
        return multiaddr(host.host, host.port, secure=secure)
    return multiaddr("127.0.0.1", 80, secure=secure)  # a Unix socket
