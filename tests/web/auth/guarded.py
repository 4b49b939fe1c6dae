"""A daemon with users, robots and rules, and requests in their names."""

import base64
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from ipfsreg.access.authority import Basic
from ipfsreg.access.identity import Action
from ipfsreg.access.robots import RobotsFile
from ipfsreg.access.scopes import parse_scopes
from ipfsreg.registry.events.events import CHANGES
from ipfsreg.registry.events.recent import RecentEvents
from ipfsreg.web.app import Gateway, SiteOptions, make_routes
from ipfsreg.web.auth.face import AccessControl
from ipfsreg.web.event_stream import EventStreams
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.pages.pages import PagesOptions
from ipfsreg.web.routes import Routes
from ipfsreg.web.site import make_pages
from tests.access.helpers import HASH, PASSWORD
from tests.web.client import Answer, query
from tests.web.served import MANIFEST_TYPE, Serve, Served, digest_of, image

RULES = """
    group staff = reader, writer
    allow deleter  *,catalog
    allow admin    catalog,admin
    allow @staff   pull            team/**, ipfs/*
    allow writer   push            team/**
    allow reader   catalog
    allow owner    *               secret/*
    allow anyone   pull            public/*
"""
USERS = ("reader", "writer", "deleter", "admin", "owner")


def basic(name: str, password: str = PASSWORD) -> dict[str, object]:
    """The header of a name and a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, object]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


class Guarded:
    """The daemon. Each request comes from an address of its own, unless it says from which."""

    def __init__(self, served: Served, robot: str) -> None:
        self.served = served
        self.robot = robot
        self._addresses = 0

    @property
    def authority(self) -> Any:
        return self.served.daemon.parts.authority

    async def ask(
        self,
        method: str,
        target: str,
        who: Mapping[str, object] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        **headers: object,
    ) -> Answer:
        """One request. ``headers`` have ``_`` for ``-``."""
        self._addresses += 1
        address = f"10.{self._addresses >> 16 & 255}.{self._addresses >> 8 & 255}.{self._addresses & 255}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.served.ask(method, target, {"X-Forwarded-For": address, **(who or {}), **named}, content)

    async def token(self, name: str, *scopes: str, seconds: float | None = None) -> str:
        """A token for a user; one that is good for ``seconds`` only."""
        user = await self.authority.identify(Basic(name, PASSWORD), "10.255.0.1")
        if seconds is not None:
            user = replace(user, expires=time.time() + seconds)
        issued: str = self.authority.issue_token(user, parse_scopes(scopes)).token
        return issued

    async def push_image(self, repository: str, tag: str, layer: bytes, who: Mapping[str, object]) -> bytes:
        """Push an image of one layer; answers its manifest."""
        for blob in (b"{}", layer):
            target = query(f"/v2/{repository}/blobs/uploads/", digest=digest_of(blob))
            assert (await self.ask("POST", target, who, blob)).status == 201
        manifest = image(layers=[layer])
        answer = await self.ask("PUT", f"/v2/{repository}/manifests/{tag}", who, manifest, Content_Type=MANIFEST_TYPE)
        assert answer.status == 201
        return manifest


def routes_of(daemon: Guarded) -> Routes:
    """Every route that there is, with all that can be switched on."""
    parts = daemon.served.daemon.parts

    async def metrics() -> bytes:
        return b""

    options = SiteOptions(
        access=AccessControl(daemon.authority, "token", None, TrustedProxies()),
        pages=PagesOptions(lambda _: True),
        streams=EventStreams(1, RecentEvents(parts.registry.events, CHANGES)),
        metrics=metrics,
    )
    gateway = Gateway(lambda _: True, None, lambda: "", lambda _: True)
    pages = make_pages(parts.registry, parts.workers, options)
    return make_routes(parts.registry, parts.workers, reactor, options, gateway, pages)


async def guarded(
    serve: Serve,
    directory: Path,
    *,
    more: Mapping[str, Mapping[str, object]] | None = None,
    again: bool = False,
    **auth: object,
) -> Guarded:
    """Start such a daemon; ``auth`` are more options of that section, ``more`` are other sections.

    ``again`` leaves the files with users and robots as they are.
    """
    users, robots = directory / "htpasswd", directory / "robots.json"
    secret = ""
    if not again:
        users.write_text("".join(f"{name}:{HASH}\n" for name in USERS))
        actions = frozenset({Action.PULL, Action.PUSH})
        secret = RobotsFile(robots).create("ci", ("team/*",), actions, time.time(), None)
    served = await serve(
        registry={"trusted_proxies": "127.0.0.1"},
        auth={"htpasswd": users, "robots": robots, **auth},
        access={"rules": RULES},
        log={"audit": directory / "audit.jsonl"},
        **(more or {}),
    )
    return Guarded(served, secret)
