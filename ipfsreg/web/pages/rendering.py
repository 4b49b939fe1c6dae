"""Templates and the files beside them. Jinja2 is loaded for the first page, in a thread."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.flow.progress import size_text
from ipfsreg.flow.single_flight import SingleFlight
from ipfsreg.flow.workers import Workers

from . import paths, text

if TYPE_CHECKING:
    from jinja2 import Environment

_AGAIN_SECONDS = 10
_HERE = Path(__file__).parent
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages need. ``version`` changes with its content."""

    content: bytes
    media_type: str
    version: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What pages are made of."""

    environment: "Environment"
    assets: Mapping[str, Asset]


class Rendering:
    """Makes pages, in threads. ``now`` is the time of day in seconds since 1970."""

    def __init__(self, workers: Workers, now: Callable[[], float]) -> None:
        self._workers = workers
        self._now = now
        self._loaded: Loaded | None = None
        self._loading = SingleFlight(self._load)

    async def page(self, template: str, values: Mapping[str, Any]) -> bytes:
        """A page; ``values`` are for the template and are not changed meanwhile."""
        loaded = await self.loaded()
        return await self._workers.run(self._render, loaded, template, values)

    async def loaded(self) -> Loaded:
        """What pages are made of.

        :raises Unavailable: where it cannot be read now, as with too many open files.
        """
        if self._loaded is None:
            self._loaded = await self._loading.outcome()
        return self._loaded

    async def _load(self) -> Loaded:
        try:
            return await self._workers.run(_load)
        except OSError as error:
            raise Unavailable(f"the files of the pages cannot be read: {error.strerror}", _AGAIN_SECONDS) from None

    def _render(self, loaded: Loaded, template: str, values: Mapping[str, Any]) -> bytes:
        now = datetime.fromtimestamp(self._now(), UTC)
        return loaded.environment.get_template(template).render(now=now, **values).encode("utf-8", "replace")


def _load() -> Loaded:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    assets = {path.name: _asset(path) for path in (_HERE / "static").iterdir() if path.suffix in _TYPES}
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    environment.filters |= {
        "size": size_text,
        "age": text.age_text,
        "duration": text.duration_text,
        "short": text.short,
        "kind": text.kind_of,
        "clip": text.clip,
    }
    environment.tests["link"] = text.is_link
    environment.globals |= {
        "paths": paths,
        "asset": lambda name: f"{paths.ASSETS}/{name}?v={assets[name].version}",
    }
    for name in environment.list_templates():
        environment.get_template(name)  # compiled now, so that no page waits for it
    return Loaded(environment, assets)


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content, _TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:12])
