"""Many tags in one repository, and many repositories: listed whole, and in pages through Link."""

import json
import re
import time
import urllib.parse
from contextlib import ExitStack

from ..errors import BenchError
from ..figures import Figure
from ..images import Client, digest_of, image, in_parallel
from ..lab import Lab
from ..machine import small_sync
from ..registries import IPFSREG, Running, running
from ..scale import PAGE

_TAGGED = "bench/tagged"
_NEXT = re.compile(r'<([^>]*)>; *rel="?next"?')
_SMALL_FILES = 200


class ListingError(BenchError):
    """A listing was incomplete, out of order, or refused."""


def measure(lab: Lab) -> list[Figure]:
    """Push them through HTTP outside the clock, then list in turns; then start again upon all of it."""
    count = lab.scale.listed
    push_tags = Figure(f"push {count:,} tags of one image", "manifests/s", higher_is_better=True)
    push_repositories = Figure(f"push to {count:,} repositories", "mount + manifest/s", higher_is_better=True)
    listings = [
        (Figure(f"{count:,} tags, whole", "s", higher_is_better=False), f"/v2/{_TAGGED}/tags/list", "tags"),
        (
            Figure(f"{count:,} tags, pages of {PAGE}", "s", higher_is_better=False),
            f"/v2/{_TAGGED}/tags/list?n={PAGE}",
            "tags",
        ),
        (
            Figure(f"{count:,} repositories, whole", "s", higher_is_better=False),
            f"/v2/_catalog?n={count + 1}",
            "repositories",
        ),
        (
            Figure(f"{count:,} repositories, pages of {PAGE}", "s", higher_is_better=False),
            f"/v2/_catalog?n={PAGE}",
            "repositories",
        ),
    ]
    lists_not: dict[str, set[str]] = {figure.name: set() for figure, _, _ in listings}
    again = Figure(f"start to ready upon {count:,} tags and {count:,} repositories", "s", higher_is_better=False)
    small = Figure("machine: create a small file durably", "files/s", higher_is_better=True)
    small.add("machine", 1 / small_sync(lab.directory, _SMALL_FILES))
    with ExitStack() as stack:
        homes = {registry.name: stack.enter_context(lab.home()) for registry in lab.registries}
        with ExitStack() as first:
            daemons = [first.enter_context(running(each, homes[each.name])) for each in lab.registries]
            for daemon in daemons:
                push_tags.add(daemon.name, count / _push_tags(daemon, count))
                push_repositories.add(daemon.name, count / _push_repositories(daemon, count))
                lab.say(
                    f"listing: {daemon.name} filled with {push_tags.samples[daemon.name][0]:.0f} tags/s, "
                    f"{push_repositories.samples[daemon.name][0]:.0f} repositories/s"
                )
            lab.settle()
            requests: dict[str, dict[str, int]] = {figure.name: {} for figure, _, _ in listings}
            for _ in range(lab.scale.listing_rounds):
                for figure, target, key in listings:
                    for daemon in [each for each in daemons if each.name not in lists_not[figure.name]]:
                        try:
                            took, asked = _list(daemon, target, key, count)
                        except ListingError as error:
                            if daemon.name == IPFSREG.name:
                                raise
                            lists_not[figure.name].add(daemon.name)
                            lab.say(str(error))
                            continue
                        figure.add(daemon.name, took)
                        requests[figure.name][daemon.name] = asked
                        lab.say(f"{figure.name}: {daemon.name}, {took:.3f} s in {asked} requests")
        for figure, _, _ in listings:
            figure.note = "requests: " + ", ".join(f"{name} {n}" for name, n in requests[figure.name].items())
            if lists_not[figure.name]:
                figure.note += f"; not whole: {', '.join(sorted(lists_not[figure.name]))}"
        for _ in range(lab.scale.listing_rounds):
            for registry in lab.registries:
                with running(registry, homes[registry.name]) as daemon:
                    again.add(registry.name, daemon.ready_after)
    return [*(figure for figure, _, _ in listings), again, push_tags, push_repositories, small]


def _push_tags(daemon: Running, count: int) -> float:
    tagged = image("tagged")
    client = Client(daemon.port)
    client.push(_TAGGED, "t00000", tagged)
    client.close()
    started = time.perf_counter()
    in_parallel(
        daemon.port,
        lambda client, number: client.push_manifest(_TAGGED, f"t{number:05}", tagged.manifest),
        range(count),
    )
    return time.perf_counter() - started


def _push_repositories(daemon: Running, count: int) -> float:
    bare = image("tagged", layers=0)  # its one blob, the configuration, is that of the tagged image
    digest = digest_of(bare.blobs[0])

    def push(client: Client, number: int) -> None:
        repository = f"bench/r{number // 100:03}/r{number % 100:02}"
        client.mount(repository, digest, _TAGGED)
        client.push_manifest(repository, "latest", bare.manifest)

    started = time.perf_counter()
    in_parallel(daemon.port, push, range(count))
    return time.perf_counter() - started


def _list(daemon: Running, target: str, key: str, count: int) -> tuple[float, int]:
    """Follow Link to the end; returns the seconds and the number of requests, after checking what came."""
    client = Client(daemon.port)
    pages = []
    try:
        client.ask("GET", "/v2/")
        started = time.perf_counter()
        following: str | None = target
        while following is not None:
            status, headers, body = client.ask("GET", following)
            if status != 200:
                raise ListingError(f"GET {following} of {daemon.name}: {status}: {body[:500]!r}")
            pages.append(body)
            link = _NEXT.search(headers.get("Link") or "")
            following = urllib.parse.urljoin(following, link[1]) if link else None
        took = time.perf_counter() - started
    finally:
        client.close()
    # distribution v3 says null where nothing is left.
    listed = [name for page in pages for name in json.loads(page)[key] or ()]
    wanted = count if key == "tags" else count + 1
    if len(set(listed)) != wanted or len(listed) != wanted:
        raise ListingError(f"GET {target} of {daemon.name}: {len(set(listed))} of {wanted}, {len(listed)} entries")
    return took, len(pages)
