"""Who a client is, for what is bounded for each of them."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from .http.request import Request

_ONE_CLIENT = 64  # bits: who has one address of IPv6 has the network of that length (RFC 6177)


def client_of(request: Request) -> str:
    """What bounds for each client go by: an IPv4 address, or the /64 network of one of IPv6; "" on a Unix socket."""
    host = getattr(request.getClientAddress(), "host", "")
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped is not None else str(IPv6Network((int(address), _ONE_CLIENT), strict=False))
    return str(address)
