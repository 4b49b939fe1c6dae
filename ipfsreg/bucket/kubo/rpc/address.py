"""Where a node's RPC listens: a URL, a multiaddr, or what the node has written down in its own directory."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cachetools import TTLCache, cached

from ipfsreg.config.endpoints import is_loopback
from ipfsreg.config.small_file import SECRET_MAX, read_small_file

DEFAULT = "/ip4/127.0.0.1/tcp/5001"
"""Where a node listens that was never told anything else."""

BELIEVED_SECONDS = 1.0
"""For how long an address that was looked up is believed."""

_MULTIADDR = re.compile(
    r"/(?:ip4|ip6|dns|dns4|dns6)/(?P<host>[^/\s]+)/tcp/(?P<port>[0-9]{1,5})(?P<rest>(?:/(?:https?|tls))*)/?"
)
_UNIX = re.compile(r"/unix(?P<path>/\S+?)/?")
_PORT_MAX = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect, and the beginning of every URL there.

    ``socket`` is a Unix socket's path, or None. ``authorities`` is a file of those who are trusted over https; None is
    whom the system trusts.
    """

    url: str
    socket: str | None = None
    authorities: Path | None = None

    @property
    def is_private(self) -> bool:
        """Whether what is sent there stays on this machine or is encrypted."""
        if self.socket is not None or self.url.startswith("https:"):
            return True
        return is_loopback(urlsplit(self.url).hostname or "")

    def __str__(self) -> str:
        return self.url if self.socket is None else f"/unix{self.socket}"


def parse_address(text: str) -> Address:
    """Read a URL (``http://127.0.0.1:5001``) or a multiaddr (``/ip4/127.0.0.1/tcp/5001``, ``/unix/run/ipfs.sock``).

    :raises ValueError: for anything else; the text says what is wanted.
    """
    text = text.strip()
    unix = _UNIX.fullmatch(text)
    if unix is not None:
        return Address("http://localhost", unix["path"])
    multiaddr = _MULTIADDR.fullmatch(text)
    if multiaddr is not None:
        host = f"[{multiaddr['host']}]" if ":" in multiaddr["host"] else multiaddr["host"]
        text = f"{'https' if re.search('https|tls', multiaddr['rest']) else 'http'}://{host}:{multiaddr['port']}"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1) <= _PORT_MAX
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment or parts.path.strip("/"):
        raise ValueError(
            "the address of a node is a URL such as http://127.0.0.1:5001, or a multiaddr such as "
            "/ip4/127.0.0.1/tcp/5001"
        )
    return Address(f"{parts.scheme}://{parts.netloc}")


def remembered(look_up: Callable[[], Address], seconds: Callable[[], float]) -> Callable[[], Address]:
    """An address that is looked up once in a while, though it is asked for several times in each call."""
    return cached(TTLCache(1, BELIEVED_SECONDS, seconds))(look_up)


def find_address(environment: Mapping[str, str] = os.environ) -> Address:
    """What the node of this user has written into ``$IPFS_PATH/api`` (``~/.ipfs/api``); without that, its default.

    Read anew again and again: a node that is started again may listen elsewhere.
    """
    directory = environment.get("IPFS_PATH") or "~/.ipfs"
    try:
        return parse_address(read_small_file(Path(directory).expanduser() / "api", SECRET_MAX).decode("ascii"))
    except (OSError, ValueError, RuntimeError):
        return parse_address(DEFAULT)
