"""Who a client is, also behind proxies that are trusted to say so (``X-Forwarded-For``)."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ipfsreg.flow.client_network import client_network

from .request import Request

UNIX = "unix"
"""In place of an address: a client that is connected through a Unix socket."""

_NONE = "-"


class TrustedProxies:
    """Addresses and networks, or `UNIX`. Without any, all that come through a proxy are one client.

    :raises ValueError: for anything else.
    """

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        names = set(proxies)
        self._unix = UNIX in names
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
            sorted((ip_network(each) for each in names - {UNIX}), key=str)
        )

    def address_of(self, request: Request) -> str:
        """The address of a request's client, or ``-`` where it has none."""
        peer = getattr(request.peer, "host", None)
        forwarded = request.headers.get(b"x-forwarded-for")
        return peer or _NONE if forwarded is None else self.client(peer, forwarded.decode("latin-1"))

    def is_secure(self, request: Request) -> bool:
        """Whether the client has come by https: to this daemon, or to a proxy that is trusted to say so."""
        if request.is_secure or not self._trusts(getattr(request.peer, "host", None)):
            return request.is_secure
        return (request.header("X-Forwarded-Proto") or "").strip().lower() == "https"

    def is_proxy(self, peer: str) -> bool:
        """Whether the peer with that address is trusted to say who its clients are."""
        return self._trusts(peer)

    def network_of(self, request: Request) -> str:
        """The network that counts as one client where something is bounded for each: an IPv4 address, or a /64 of IPv6.

        "" on a Unix socket.
        """
        return client_network(self.address_of(request))

    def client(self, peer: str | None, forwarded: str | None) -> str:
        """The address of the client: of the peer, or whom the last proxy that is trusted has named.

        ``peer`` is None where it has no address. ``forwarded`` is the header's value. Each proxy adds whom it was
        asked by at its end, so what stands before the first one that is not trusted may be anybody's invention.
        """
        client = peer
        hops = [] if forwarded is None else forwarded.split(",")
        while hops and self._trusts(client):
            hop = _address(hops.pop())
            if hop is None:
                break
            client = hop
        return client or _NONE

    def _trusts(self, client: str | None) -> bool:
        if client is None:
            return self._unix
        try:
            address = ip_address(client)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text.strip().strip("[]")))
    except ValueError:
        return None
