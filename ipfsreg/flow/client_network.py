"""Who counts as one client where something is bounded for each."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

_ONE_CLIENT = 64  # bits: who has one address of IPv6 has the network of that length (RFC 6177)


@lru_cache(maxsize=1024)  # a client asks many times
def client_network(address: str) -> str:
    """An IPv4 address, or a /64 of IPv6; "" for what is no address, such as a Unix socket."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, IPv6Address):
        mapped = ip.ipv4_mapped
        return str(mapped) if mapped is not None else str(IPv6Network((int(ip), _ONE_CLIENT), strict=False))
    return str(ip)
