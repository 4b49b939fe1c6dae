"""Who a client is behind proxies that are trusted to say so (``X-Forwarded-For``)."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

UNIX = "unix"
"""In place of an address: whoever is connected through a Unix socket."""

_NONE = "-"


class TrustedProxies:
    """Addresses and networks, or `UNIX`.

    :raises ValueError: for what is none of these.
    """

    def __init__(self, proxies: Iterable[str] = ()) -> None:
        names = set(proxies)
        self._unix = UNIX in names
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(
            sorted((ip_network(each) for each in names - {UNIX}), key=str)
        )

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
