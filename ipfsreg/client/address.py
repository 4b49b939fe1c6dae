"""Where a registry is: its URL, with the scheme that is meant where none is said."""

from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ipfsreg.config.endpoints import is_loopback

_PORTS = {"http": 80, "https": 443}

_HUB = "docker.io"
_HUB_NAMES = {_HUB, "index.docker.io", "registry-1.docker.io"}
_HUB_BASE = "https://registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Origin:
    """Whom a URL leads to. Credentials are for one origin, and for no other."""

    scheme: str
    host: str
    port: int

    @property
    def is_private(self) -> bool:
        """Whether nobody else hears what is said: TLS, or this machine."""
        return self.scheme == "https" or is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """A registry's ``base`` URL, without a slash at its end, and its ``name`` as images and `docker login` have it."""

    base: str
    name: str
    origin: Origin

    def url(self, path: str) -> str:
        """The URL of a path below ``/v2/``, which may have a query."""
        return f"{self.base}/v2/{quote(path, safe='/:@?&=%+')}"

    def has(self, url: str) -> bool:
        """Whether a URL leads to this registry."""
        return url.startswith(f"{self.base}/") or origin_of(url) == self.origin


def parse_address(text: str) -> RegistryAddress:
    """Read ``HOST[:PORT]`` or a URL.

    Without a scheme it is http for this machine and https elsewhere. http elsewhere has to be said, and gets no
    credentials.

    :raises ValueError: with one line, for what is no address of a registry.
    """
    given = text
    if "://" not in text:
        host = urlsplit(f"//{text}").hostname or ""
        text = f"{'http' if is_loopback(host) else 'https'}://{text}"
    parts = urlsplit(text)
    if parts.username is not None or parts.password is not None:
        raise ValueError("a registry's URL has no password in it: `docker login` stores it where it is found")
    if parts.path.rstrip("/") not in {"", "/v2"} or parts.query or parts.fragment:
        raise ValueError(f"{given!r}: a registry's URL ends after its host and port")
    origin = origin_of(parts)
    if origin is None:
        raise ValueError(f"{given!r} is no URL of a registry, such as https://registry.example")
    if parts.hostname in _HUB_NAMES:  # the one registry whose host is not the one that images have in their names
        return RegistryAddress(_HUB_BASE, _HUB, Origin("https", "registry-1.docker.io", 443))
    return RegistryAddress(f"{origin.scheme}://{parts.netloc}", parts.netloc, origin)


def join_url(base: str, reference: str) -> str | None:
    """The URL that a server names, perhaps relative to the one it was asked; None for what is none."""
    try:
        url = urljoin(base, reference)
    except ValueError:
        return None
    return url if url.isascii() and url.isprintable() and " " not in url and origin_of(url) is not None else None


def origin_of(url: str | SplitResult) -> Origin | None:
    """Whom a URL leads to; None where it is none of http or https."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else url
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or not parts.netloc.isascii():
        return None
    return Origin(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])
