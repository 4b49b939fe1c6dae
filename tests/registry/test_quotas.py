"""``[limits] repository_size`` and ``total_size``: what counts, and what a push beyond them is told."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st

from ipfsreg.registry.content import cid_table
from ipfsreg.registry.names import Repository
from tests.full import examples
from tests.web.client import pause, query
from tests.web.served import MANIFEST_TYPE, Serve, Served, digest_of, image

KEPT = b"a" * 600
MORE = b"b" * 600


async def pushed(served: Served, content: bytes, repository: str = "box") -> Any:
    target = query(f"/v2/{repository}/blobs/uploads/", digest=digest_of(content))
    return await served.ask("POST", target, None, content)


@pytest_twisted.ensureDeferred
async def test_a_push_beyond_a_repositorys_quota_is_told_what_is_used(serve: Serve) -> None:
    served = await serve(limits={"repository_size": "1000"})
    assert (await pushed(served, KEPT)).status == 201
    answer = await pushed(served, MORE)
    assert answer.error == (403, "DENIED")
    (error,) = answer.json()["errors"]
    assert "quota" in error["message"]
    assert "uses 600 of 1000 bytes" in error["message"]
    assert error["detail"] == {"used": 600, "allowed": 1000, "needed": 600}
    assert (await served.ask("HEAD", f"/v2/box/blobs/{digest_of(MORE)}")).status == 404
    # What is there already needs no room; a mount does; and another repository has its own.
    assert (await pushed(served, b"c" * 400)).status == 201
    assert (await pushed(served, MORE, "other")).status == 201
    mount = query("/v2/box/blobs/uploads/", mount=digest_of(MORE), **{"from": "other"})
    assert (await served.ask("POST", mount, None, b"")).error == (403, "DENIED")
    mount = query("/v2/box/blobs/uploads/", mount=digest_of(KEPT), **{"from": "box"})
    assert (await served.ask("POST", mount, None, b"")).status == 201


@pytest_twisted.ensureDeferred
async def test_chunks_of_unknown_length_are_refused_in_the_end(serve: Serve) -> None:
    served = await serve(limits={"repository_size": "1000"})
    assert (await pushed(served, KEPT)).status == 201
    location = await served.begin_upload()
    answer = await served.ask("PATCH", location, {"Transfer-Encoding": "chunked"}, [MORE])
    assert answer.status == 202
    finish = query(location, digest=digest_of(MORE))
    assert (await served.ask("PUT", finish, None, b"")).error == (403, "DENIED")
    assert (await served.ask("GET", location)).status == 404
    assert not list((served.store / "uploads").glob("*/data"))


@pytest_twisted.ensureDeferred
async def test_manifests_count_and_what_is_deleted_makes_room(serve: Serve) -> None:
    manifest = image(layers=[KEPT])
    served = await serve(limits={"repository_size": str(len(KEPT) + 2 + len(manifest))})
    await served.push_image("1", layers=[KEPT])
    other = image(layers=[KEPT], annotations={"a": "b"})
    assert (await served.push(other, "2")).error == (403, "DENIED")
    assert (await served.push(manifest, "2", media_type=MANIFEST_TYPE)).status == 201  # the same under another tag
    assert (await served.ask("DELETE", f"/v2/box/blobs/{digest_of(KEPT)}")).status == 202
    assert (await pushed(served, MORE)).status == 201


@pytest_twisted.ensureDeferred
async def test_what_two_repositories_have_counts_once_in_all(serve: Serve) -> None:
    served = await serve(limits={"total_size": "1000"})
    for repository in ("one", "two", "three"):
        assert (await pushed(served, KEPT, repository)).status == 201
    answer = await pushed(served, MORE, "one")
    assert answer.error == (403, "DENIED")
    assert "this registry uses 600 of 1000 bytes" in answer.json()["errors"][0]["message"]
    for repository in ("one", "two", "three"):
        target = f"/v2/{repository}/blobs/{digest_of(KEPT)}"
        assert (await served.ask("DELETE", target)).status == 202
    assert (await pushed(served, MORE, "one")).status == 201


@pytest_twisted.ensureDeferred
async def test_pushes_at_once_do_not_share_the_same_room(serve: Serve) -> None:
    served = await serve(limits={"repository_size": "1000"})
    connections = [await served.connect() for _ in range(4)]
    contents = [bytes([97 + number]) * 600 for number in range(4)]
    asking = [
        each.ask("POST", query("/v2/box/blobs/uploads/", digest=digest_of(content)), None, content)
        for each, content in zip(connections, contents, strict=True)
    ]
    statuses = Counter([(await each).status for each in asking])
    assert statuses == {201: 1, 403: 3}


@pytest_twisted.ensureDeferred
async def test_what_was_there_before_the_quota_counts(serve: Serve, tmp_path: Path) -> None:
    first = await serve()
    await first.push_image("1", layers=[KEPT])
    await first.stop()
    for name in ("cids.sqlite", "cids.sqlite-wal", "cids.sqlite-shm"):
        (first.store / name).unlink(missing_ok=True)
    second = await serve(limits={"repository_size": "1300"}, local={"path": str(first.store)})
    for _ in range(200):
        if (await second.daemon.parts.registry._index.usage(Repository("box"), None)).of_repository > 600:
            break
        await pause(0.01)
    assert (await pushed(second, MORE)).error == (403, "DENIED")


KEYS = [b"\x12" + bytes([number]) * 32 for number in range(3)]
SIZES = dict(zip(KEYS, (1, 10, 100), strict=True))
STEPS = st.lists(
    st.tuples(st.sampled_from(["held", "lost", "measured"]), st.sampled_from(KEYS), st.sampled_from(["a", "b"]))
)


@settings(max_examples=examples(50, 200))
@given(STEPS, st.booleans())
def test_the_count_is_that_of_all_that_is_held(steps: list[tuple[str, bytes, str]], manifest: bool) -> None:
    connection = cid_table.sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(cid_table._SCHEMA)
    held: set[tuple[bytes, str]] = set()
    for what, key, repository in steps:
        if what == "held":
            statement = "INSERT INTO holders VALUES (?, ?, ?, 0) ON CONFLICT DO UPDATE SET pass = excluded.pass"
            connection.execute(statement, (key, repository, manifest))
            held.add((key, repository))
        elif what == "lost":
            connection.execute("DELETE FROM holders WHERE content = ? AND repository = ?", (key, repository))
            held.discard((key, repository))
        else:
            connection.execute("INSERT INTO sizes VALUES (?, ?) ON CONFLICT DO NOTHING", (key, SIZES[key]))
    for key in KEYS:
        connection.execute("INSERT INTO sizes VALUES (?, ?) ON CONFLICT DO NOTHING", (key, SIZES[key]))
    for repository in ("a", "b"):
        usage = cid_table.usage(Repository(repository), KEYS[0], connection)
        assert usage.of_repository == sum(SIZES[key] for key, name in held if name == repository)
        assert usage.of_all == sum(SIZES[key] for key in {key for key, _ in held})
        assert usage.repository_has is ((KEYS[0], repository) in held)
    connection.close()


def test_what_every_repository_has_costs_one_more_no_more() -> None:
    """A base layer is in all of them: nothing of the count may look at each."""
    connection = cid_table.sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(cid_table._SCHEMA)
    steps = Counter[str]()

    def cost(what: str, number: int) -> int:
        steps.clear()
        connection.set_progress_handler(lambda: steps.update("s") or 0, 1)
        holder = (KEYS[0], f"r{number}", 0)
        if what == "held":
            connection.execute("INSERT INTO holders VALUES (?, ?, ?, 1)", holder)
            connection.execute("INSERT INTO sizes VALUES (?, 5) ON CONFLICT DO NOTHING", (KEYS[0],))
        elif what == "used":
            cid_table.usage(Repository(f"r{number}"), KEYS[0], connection)
        else:
            connection.execute("DELETE FROM holders WHERE content = ? AND repository = ? AND manifest = ?", holder)
        connection.set_progress_handler(None, 1)
        return steps["s"]

    def costs(number: int) -> list[int]:
        return [cost(what, number) for what in ("held", "used", "lost")]

    cost("held", 0), cost("held", 1)
    few = costs(2)
    for number in range(3, 1000):
        cost("held", number)
    assert sum(costs(1000)) <= sum(few) + 50
    assert cid_table.usage(Repository("r5"), KEYS[0], connection) == cid_table.Usage(5, 5, True, True)
