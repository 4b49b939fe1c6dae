"""Who a client is, for what is bounded for each of them."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from .http.forwarded import TrustedProxies
from .http.request import Request

_ONE_CLIENT = 64  # bits: who has one address of IPv6 has the network of that length (RFC 6177)


class Clients:
    """``proxies`` say who their clients are; without them, all that come through a proxy are one client."""

    def __init__(self, proxies: TrustedProxies) -> None:
        self._proxies = proxies

    def of(self, request: Request) -> str:
        """An IPv4 address, or the /64 network of one of IPv6; "" on a Unix socket."""
        peer = getattr(request.getClientAddress(), "host", None)
        host = self._proxies.client(peer, request.getHeader("X-Forwarded-For"))
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return ""
        if isinstance(address, IPv6Address):
            mapped = address.ipv4_mapped
            return str(mapped) if mapped is not None else str(IPv6Network((int(address), _ONE_CLIENT), strict=False))
        return str(address)
