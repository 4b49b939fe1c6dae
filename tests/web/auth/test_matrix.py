"""Every route, and everybody: the status that each gets, written out."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.access.helpers import PASSWORD
from tests.web.served import MANIFEST_TYPE, Serve, digest_of, image

from .guarded import Guarded, basic, bearer, guarded, routes_of

WHO = ("anonymous", "reader", "writer", "deleter", "admin", "robot", "wrong", "expired", "foreign")
LAYER = b"the layer of an image that not everybody may have"
NOBODY = digest_of(b"no such content")

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Row:
    """A request to a route, and the statuses of everybody in the order of `WHO`."""

    route: str
    method: str
    target: str
    statuses: str
    content: bytes | None = None
    media_type: str | None = None


def rows(manifest: bytes, cid: str) -> list[Row]:
    layer, subject = digest_of(LAYER), digest_of(manifest)
    one = "/v2/team/app"
    by_cid = f"/v2/ipfs/{cid}"
    offline = urlencode({"grant_type": "password", "username": "reader", "password": PASSWORD}).encode()
    table = [
        #                                                     anon read writ dele admi robo wron expi fore
        ("root", "GET", "/", "                                200  200  200  200  200  200  200  200  200"),
        ("livez", "GET", "/livez", "                          200  200  200  200  200  200  200  200  200"),
        ("readyz", "GET", "/readyz", "                        200  200  200  200  200  200  200  200  200"),
        ("base", "GET", "/v2/", "                             401  200  200  200  200  200  401  401  401"),
        ("catalog", "GET", "/v2/_catalog", "                  401  200  403  200  200  403  401  401  401"),
        ("tags", "GET", f"{one}/tags/list", "                 401  200  200  200  403  200  401  401  401"),
        ("referrers", "GET", f"{one}/referrers/{subject}", "  401  200  200  200  403  200  401  401  401"),
        ("manifest-get", "GET", f"{one}/manifests/1", "       401  200  200  200  403  200  401  401  401"),
        ("manifest-get", "HEAD", f"{one}/manifests/1", "      401  200  200  200  403  200  401  401  401"),
        ("manifest-put", "PUT", f"{one}/manifests/2", "       401  403  201  201  403  201  401  401  401"),
        ("manifest-delete", "DELETE", f"{one}/manifests/9", " 401  403  403  404  403  403  401  401  401"),
        ("blob-get", "GET", f"{one}/blobs/{layer}", "         401  200  200  200  403  200  401  401  401"),
        ("blob-get", "HEAD", f"{one}/blobs/{layer}", "        401  200  200  200  403  200  401  401  401"),
        ("blob-delete", "DELETE", f"{one}/blobs/{NOBODY}", "  401  403  403  404  403  403  401  401  401"),
        ("upload-begin", "POST", f"{one}/blobs/uploads/", "   401  403  202  202  403  202  401  401  401"),
        ("upload-status", "GET", f"{one}/blobs/uploads/x", "  401  403  404  404  403  404  401  401  401"),
        ("upload-append", "PATCH", f"{one}/blobs/uploads/x", "401  403  404  404  403  404  401  401  401"),
        ("upload-finish", "PUT", f"{one}/blobs/uploads/x", "  401  403  404  404  403  404  401  401  401"),
        ("upload-cancel", "DELETE", f"{one}/blobs/uploads/x", "401 403  404  404  403  404  401  401  401"),
        ("cid-manifest", "GET", f"{by_cid}/manifests/latest", "401 200  200  200  403  403  401  401  401"),
        ("cid-blob", "GET", f"{by_cid}/blobs/{layer}", "      401  200  200  200  403  403  401  401  401"),
        ("cid-tags", "GET", f"{by_cid}/tags/list", "          401  200  200  200  403  403  401  401  401"),
        ("cid-manifest-change", "PUT", f"{by_cid}/manifests/1", "401 403 403 405  403  403  401  401  401"),
        ("cid-blob-change", "DELETE", f"{by_cid}/blobs/{layer}", "401 403 403 405 403  403  401  401  401"),
        ("cid-uploads-change", "POST", f"{by_cid}/blobs/uploads/", "401 403 403 405 403 403  401  401  401"),
        ("cid-upload-change", "PUT", f"{by_cid}/blobs/uploads/x", "401 403 403 405 403  403  401  401  401"),
        ("gateway", "GET", f"/ipfs/{cid}?format=raw", "       404  200  200  200  404  200  401  401  401"),
        ("gateway", "HEAD", f"/ipfs/{cid}?format=raw", "      404  200  200  200  404  200  401  401  401"),
        ("gateway-path", "GET", f"/ipfs/{cid}/x?format=raw", "404  404  404  404  404  404  401  401  401"),
        ("providers", "GET", f"/routing/v1/providers/{cid}", "200  200  200  200  200  200  401  401  401"),
        ("metrics", "GET", "/metrics", "                      401  403  403  403  200  403  401  401  401"),
        ("events", "HEAD", "/events", "                       200  200  200  200  200  200  401  401  401"),
        ("token-get", "GET", "/auth/token?scope=repository:team/app:pull", "200 200 200 200 200 200 401 401 401"),
        ("token-post", "POST", "/auth/token", "               200  200  200  200  200  200  200  200  200"),
    ]
    found = [Row(route, method, target, statuses) for route, method, target, statuses in table]
    for row in found:
        if row.route == "manifest-put":
            row.content, row.media_type = manifest, MANIFEST_TYPE
        elif row.route == "token-post":  # who asks is in the form
            row.content, row.media_type = offline, FORM["Content-Type"]
        elif row.method in {"POST", "PUT", "PATCH"}:
            row.content = b""
    return found


async def everybody(daemon: Guarded, other: Guarded) -> dict[str, dict[str, object]]:
    """The headers of each of `WHO`. The expired token has just been good."""
    scope = "repository:team/app:pull,push,delete"
    foreign = await other.token("deleter", scope)
    expired = await daemon.token("deleter", scope, "registry:catalog:*", seconds=2.01)
    assert (await daemon.ask("GET", "/v2/team/app/tags/list", bearer(expired))).status == 200
    await deferLater(reactor, 2.1, lambda: None)
    return {
        "anonymous": {},
        **{name: basic(name) for name in ("reader", "writer", "deleter", "admin")},
        "robot": basic("robot+ci", daemon.robot),
        "wrong": basic("deleter", "wrong"),
        "expired": bearer(expired),
        "foreign": bearer(foreign),
    }


@pytest_twisted.ensureDeferred
async def test_every_route_and_everybody(serve: Serve, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    daemon = await guarded(serve, tmp_path / "one", more={"metrics": {"enabled": "yes"}})
    other = await guarded(serve, tmp_path / "two")
    manifest = await daemon.push_image("team/app", "1", LAYER, basic("deleter"))
    pushed = await daemon.ask("GET", "/v2/team/app/manifests/1", basic("deleter"))
    table = rows(manifest, pushed["x-ipfs-cid"])
    headers = await everybody(daemon, other)
    found, wanted = [], []
    for row in table:
        for who, status in zip(WHO, row.statuses.split(), strict=True):
            more = {} if row.media_type is None else {"Content_Type": row.media_type}
            answer = await daemon.ask(row.method, row.target, headers[who], row.content, **more)
            found.append((row.route, row.method, who, answer.status))
            wanted.append((row.route, row.method, who, int(status)))
            if answer.status in {401, 403, 404, 405} and row.method != "HEAD":
                assert answer.json()["errors"][0]["code"]
            if answer.status == 401 and row.route != "token-get":
                assert answer["www-authenticate"].startswith('Bearer realm="http://registry.test/auth/token"')
    assert found == wanted


@pytest_twisted.ensureDeferred
async def test_no_route_is_missing(serve: Serve, tmp_path: Path) -> None:
    """A new route is in the table, or this fails."""
    routes = routes_of(await guarded(serve, tmp_path))
    table = rows(image(), "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
    pages = {name for name in routes.needs if name.startswith("page-")}  # which have a table of their own
    assert {row.route for row in table} == set(routes.needs) - pages
