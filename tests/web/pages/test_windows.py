"""Pages of long lists, and texts of strangers."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as some

from ipfsreg.flow.progress import size_text
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry.errors import ManifestInvalid, NameUnknown
from ipfsreg.registry.manifest import OCI_IMAGE, OCI_INDEX
from ipfsreg.registry.names import parse_repository
from ipfsreg.registry.repository.catalog import Catalog
from ipfsreg.registry.repository.tags import lexical
from ipfsreg.web.pages.documents import read_config, read_document
from ipfsreg.web.pages.paths import local_path
from ipfsreg.web.pages.text import age_text, clip, clip_lines, duration_text, read_time, time_of
from ipfsreg.web.pages.windows import allowed_window_of, tags_window, window_of
from tests.web.served import Served

VALUES = some.recursive(
    some.none() | some.booleans() | some.integers(-(10**30), 10**30) | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
)


REPOSITORIES = ["1", "1/a", "a", "a-1", "a/b", "ab", "b", "b/1", "b1"]


@pytest.mark.parametrize("kept", [True, False])
@pytest_twisted.ensureDeferred
async def test_windows_of_repositories(registry: Served, kept: bool) -> None:
    """Whether the index has the names, or they are in memory."""
    for name in REPOSITORIES:
        await registry.push_image("latest", name)
    served = registry.daemon.registry
    catalog = served.catalog if kept else Catalog(served.bucket, served.clock)
    for wanted, size in product(("", "A", "b", "1", "zebra"), (1, 2, 4, 20)):
        matching = [name for name in REPOSITORIES if wanted.lower() in name]
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            window = await window_of(catalog, wanted, after, size)
            assert window.total == len(matching)
            assert window.first == len(seen) + 1
            if window.before is None:
                assert not seen
            else:
                assert list((await window_of(catalog, wanted, window.before, size)).names) == seen[-size:]
            seen += window.names
            after = window.after
        assert seen == matching


@pytest.mark.parametrize("known", [True, False])
@pytest_twisted.ensureDeferred
async def test_windows_of_tags(registry: Served, known: bool) -> None:
    """Whether the index has the tags, or they are listed."""
    there = sorted(["a", "B", "b", "a1", "A1", "b-2", "1.0", "1.1", "2.0-rc"], key=lexical)
    for tag in there:
        await registry.push_image(tag)
    tags, box = registry.daemon.registry.tags, parse_repository("box")
    if known:
        await tags.learn(box, Throttle(registry.daemon.registry.clock))
    assert await tags.count(box) == len(there)
    for wanted, backwards, size in product(("", "A", "b", "1", "zebra"), (False, True), (1, 2, 4, 20)):
        matching = [tag for tag in there if wanted.lower() in tag.lower()]
        expected = matching[::-1] if backwards else matching
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            window = await tags_window(tags, box, wanted, after, size, backwards=backwards)
            assert window.total == (None if wanted else len(there))
            if seen:
                assert window.before is not None
                former = await tags_window(tags, box, wanted, window.before, size, backwards=backwards)
                assert list(former.names) == seen[-size:]
            else:
                assert window.before is None
            seen += window.names
            after = window.after
        assert seen == expected
    with pytest.raises(NameUnknown):
        await tags_window(tags, parse_repository("none"), "a", "", 5, backwards=True)


@pytest_twisted.ensureDeferred
async def test_windows_of_what_one_may_see(registry: Served) -> None:
    for name in REPOSITORIES:
        await registry.push_image("latest", name)
    catalog, workers = registry.daemon.registry.catalog, registry.daemon.parts.workers
    hidden_ones: list[set[str]] = [{"1", "a", "b1"}, set(REPOSITORIES), set()]
    for hidden, size in product(hidden_ones, (1, 2, 3)):
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            allowed = {*REPOSITORIES} - hidden
            window = await allowed_window_of(catalog, "", after, size, allowed.__contains__, workers)
            assert window.total is None
            seen += window.names
            after = window.after
        assert seen == [name for name in REPOSITORIES if name not in hidden]


@given(some.text(), some.integers(0, 20))
def test_texts_are_bounded_and_can_be_seen(text: str, most: int) -> None:
    shown = clip(text, most)
    assert len(shown) <= most + 1
    assert shown.isprintable() or not text.isprintable()
    assert not set(shown) & set("\u202e\u200b\u2066\x00\x1b\n\ufeff\u2028")
    assert len(clip_lines(text, most)) <= most + 1


@given(
    some.dictionaries(some.sampled_from(["manifests", "layers", "config", "subject", "annotations", "blobs"]), VALUES)
)
def test_any_manifest_can_be_shown(document: dict[str, Any]) -> None:
    content = json.dumps(document).encode("utf-8", "surrogatepass")
    for media_type in (OCI_IMAGE, OCI_INDEX, "application/x"):
        try:
            found = read_document(content, media_type)
        except ManifestInvalid:
            continue
        size_text(found.size)


@given(some.dictionaries(some.sampled_from(["config", "history", "created", "os", "variant", "author"]), VALUES))
def test_any_configuration_can_be_shown(document: dict[str, Any]) -> None:
    document["config"] = {name: document.get("config") for name in ("Env", "Cmd", "Labels", "ExposedPorts", "User")}
    with suppress(ManifestInvalid):
        read_config(json.dumps(document).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "\N{EN DASH}"),
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (9994, "9.99 kB"),
        (9996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_600, "1.00 MB"),
        (3_210_000_000, "3.21 GB"),
        (10**20, "100 EB"),
        (10**400, "very large"),
    ],
)
def test_sizes(size: int | None, text: str) -> None:
    assert size_text(size) == text


def test_times() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for seconds, text in ((0, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"), (40 * 86400, "1 month ago")):
        assert age_text(now - timedelta(seconds=seconds), now) == text
    assert age_text(now + timedelta(days=3), now) == "on 2026-01-04"
    assert read_time("2024-01-01T00:00:00.123456789Z") is not None
    for value in (None, 3, "", "x" * 100, "0001-01-01T00:00:00+23:00", "2024-13-01T00:00:00Z"):
        assert read_time(value) is None
    assert time_of(1e300) is None
    assert [duration_text(each) for each in (1, 90, 3600, 5400, 86400)] == [
        "1 second",
        "90 seconds",
        "1 hour",
        "90 minutes",
        "1 day",
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/repositories/a:1?q=x", "/repositories/a:1?q=x"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
        (None, "/"),
        ("/a\r\nSet-Cookie: x=1", "/a%0D%0ASet-Cookie:%20x=1"),
        ("/" + "a" * 5000, "/"),
    ],
)
def test_where_a_sign_in_leads(text: str | None, path: str) -> None:
    assert local_path(text) == path
