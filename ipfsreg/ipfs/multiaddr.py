"""Where this daemon is, as IPFS nodes write addresses (https://github.com/multiformats/multiaddr)."""

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")
_MULTIADDR = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/[^/\s]+/tcp/[0-9]{1,5}/(http|https|tls/(sni/[^/\s]+/)?http)")
_PORTS = {"http": 80, "https": 443}


def to_multiaddr(address: str) -> str:
    """A multiaddr from one, or from the URL of a server: ``http`` or ``https``, a host, and maybe a port.

    :raises ValueError: where it is neither.
    """
    if _MULTIADDR.fullmatch(address):
        return address
    url = urlsplit(address)
    if url.scheme not in _PORTS or not url.hostname or url.path not in {"", "/"} or url.query or url.username:
        raise ValueError("neither a URL such as https://registry.example.org nor a multiaddr ending in /http or /https")
    return multiaddr(url.hostname, url.port or _PORTS[url.scheme], secure=url.scheme == "https")


def multiaddr(host: str, port: int, *, secure: bool) -> str:
    """The multiaddr of an HTTP server.

    :raises ValueError: where the host is neither an IP address nor a name.
    """
    try:
        kind = "ip6" if isinstance(ip_address(host), IPv6Address) else "ip4"
    except ValueError:
        kind = "dns"
        if not _NAME.fullmatch(host):
            raise ValueError("not the name of a host") from None
    return f"/{kind}/{host}/tcp/{port}/{'https' if secure else 'http'}"
