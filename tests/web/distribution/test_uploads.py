"""Pushing blobs in every way that there is (distribution-spec, "Pushing blobs")."""

import errno
import os
import uuid

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint

from ipfsreg.bucket.local.tree import FileTree
from ipfsreg.registry.uploads import upload
from tests.web.client import connect, pause, query
from tests.web.served import Serve, Served, digest_of

FIRST, SECOND, THIRD = b"a" * 1000, b"b" * 70_000, b"c"
WHOLE = FIRST + SECOND + THIRD
UNKNOWN = f"/v2/box/blobs/uploads/{uuid.uuid4()}"


async def content_of(registry: Served, content: bytes, repository: str = "box", algorithm: str = "sha256") -> bytes:
    answer = await registry.ask("GET", f"/v2/{repository}/blobs/{digest_of(content, algorithm)}")
    assert answer.status == 200
    return answer.content


def in_pieces(content: bytes) -> list[bytes]:
    return [piece for piece in (content[:10], content[10:15], content[15:]) if piece]


async def received(registry: Served, location: str) -> str:
    answer = await registry.ask("GET", location)
    assert (answer.status, answer.content) == (204, b"")
    return answer["range"]


@pytest_twisted.ensureDeferred
async def test_a_session_begins_with_its_location(registry: Served) -> None:
    answer = await registry.ask("POST", "/v2/some/box/blobs/uploads/", {"Content-Length": 0})
    assert (answer.status, answer.content) == (202, b"")
    identifier = answer["location"].rpartition("/")[2]
    assert answer["location"] == f"/v2/some/box/blobs/uploads/{identifier}"
    assert answer["docker-upload-uuid"] == answer["blob-upload-session-id"] == identifier
    assert "range" not in answer
    status = await registry.ask("GET", answer["location"])
    assert (status.status, status["range"], status["location"]) == (204, "0--1", answer["location"])


@pytest_twisted.ensureDeferred
async def test_a_client_that_lost_its_first_chunk_goes_on_by_what_it_is_told(registry: Served) -> None:
    location = await registry.begin_upload()
    refused = await registry.ask("PATCH", location, {"Content-Range": "5-9"}, b"later")
    assert (refused.status, refused["range"]) == (416, "0--1")
    for expected in (0, 1, 2):
        # As regclient does it.
        offset = int((await received(registry, location)).split("-", 1)[1]) + 1
        assert offset == expected
        answer = await registry.ask("PATCH", location, {"Content-Range": f"{offset}-{offset}"}, b"x")
        assert (answer.status, answer["range"]) == (202, f"0-{offset}")


@pytest.mark.parametrize("with_length", [True, False])
@pytest_twisted.ensureDeferred
async def test_parts_are_appended_and_put_makes_the_blob(registry: Served, with_length: bool) -> None:
    location = await registry.begin_upload()
    total = 0
    for part in (FIRST, SECOND, THIRD):
        answer = await registry.ask("PATCH", location, None, part if with_length else in_pieces(part))
        total += len(part)
        assert (answer.status, answer["range"]) == (202, f"0-{total - 1}")
        location = answer["location"]
    answer = await registry.ask("PUT", query(location, digest=digest_of(WHOLE)), {"Content-Length": 0})
    assert answer.status == 201
    assert answer["location"] == f"/v2/box/blobs/{digest_of(WHOLE)}"
    assert answer["docker-content-digest"] == digest_of(WHOLE)
    assert await content_of(registry, WHOLE) == WHOLE
    assert (await registry.ask("GET", location)).error == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest_twisted.ensureDeferred
async def test_put_may_bring_the_last_part(registry: Served) -> None:
    location = await registry.begin_upload()
    await registry.ask("PATCH", location, None, FIRST + SECOND)
    for content in (THIRD, [THIRD]):
        answer = await registry.ask("PUT", query(location, digest=digest_of(WHOLE)), None, content)
        assert answer.status == 201
        location = await registry.begin_upload()
        await registry.ask("PATCH", location, None, FIRST + SECOND)
    assert await content_of(registry, WHOLE) == WHOLE


@pytest_twisted.ensureDeferred
async def test_put_may_bring_the_last_part_with_its_range(registry: Served) -> None:
    location = await registry.begin_upload()
    await registry.ask("PATCH", location, None, FIRST)
    wrong = {"Content-Range": f"0-{len(SECOND) - 1}"}
    target = query(location, digest=digest_of(FIRST + SECOND))
    refused = await registry.ask("PUT", target, wrong, SECOND)
    assert refused.error == (416, "BLOB_UPLOAD_INVALID")
    assert refused["range"] == f"0-{len(FIRST) - 1}"
    right = {"Content-Range": f"{len(FIRST)}-{len(FIRST + SECOND) - 1}"}
    assert (await registry.ask("PUT", target, right, SECOND)).status == 201


@pytest.mark.parametrize("pieces", [[WHOLE], [b"", WHOLE], [WHOLE[:1], WHOLE[1:70_000], WHOLE[70_000:]]])
@pytest_twisted.ensureDeferred
async def test_a_single_post_makes_the_blob(registry: Served, pieces: list[bytes]) -> None:
    target = query("/v2/box/blobs/uploads/", digest=digest_of(WHOLE))
    answer = await registry.ask("POST", target, None, [piece for piece in pieces if piece])
    assert (answer.status, answer["location"]) == (201, f"/v2/box/blobs/{digest_of(WHOLE)}")
    assert await content_of(registry, WHOLE) == WHOLE


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest_twisted.ensureDeferred
async def test_post_then_one_put_makes_the_blob(registry: Served, algorithm: str) -> None:
    location = await registry.begin_upload()
    digest = digest_of(WHOLE, algorithm)
    answer = await registry.ask("PUT", query(location, digest=digest), None, WHOLE)
    assert (answer.status, answer["docker-content-digest"]) == (201, digest)
    assert await content_of(registry, WHOLE, algorithm=algorithm) == WHOLE


@pytest_twisted.ensureDeferred
async def test_an_algorithm_can_be_announced(registry: Served) -> None:
    target = query("/v2/box/blobs/uploads/", **{"digest-algorithm": "sha512"})
    assert (await registry.ask("POST", target, {"Content-Length": 0})).status == 202
    target = query("/v2/box/blobs/uploads/", **{"digest-algorithm": "md5"})
    assert (await registry.ask("POST", target, {"Content-Length": 0})).error == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("finish", ["post", "put", "patch"])
@pytest_twisted.ensureDeferred
async def test_an_empty_blob_can_be_pushed_in_every_way(registry: Served, finish: str) -> None:
    if finish == "post":
        target = query("/v2/box/blobs/uploads/", digest=digest_of(b""))
        answer = await registry.ask("POST", target, {"Content-Length": 0})
    else:
        location = await registry.begin_upload()
        if finish == "patch":
            appended = await registry.ask("PATCH", location, None, b"")
            assert (appended.status, appended["range"]) == (202, "0-0")
        answer = await registry.ask("PUT", query(location, digest=digest_of(b"")), {"Content-Length": 0})
    assert answer.status == 201
    assert await content_of(registry, b"") == b""


@pytest.mark.parametrize("unit", ["", "bytes ", "bytes="])
@pytest_twisted.ensureDeferred
async def test_a_part_out_of_order_is_told_where_to_go_on(registry: Served, unit: str) -> None:
    location = await registry.begin_upload()

    def content_range(begin: int, part: bytes) -> dict[str, str]:
        return {"Content-Range": f"{unit}{begin}-{begin + len(part) - 1}"}

    assert (await registry.ask("PATCH", location, content_range(0, FIRST), FIRST)).status == 202
    for begin in (0, len(FIRST) - 1, len(FIRST) + 1):
        refused = await registry.ask("PATCH", location, content_range(begin, SECOND), SECOND)
        assert refused.error == (416, "BLOB_UPLOAD_INVALID")
        assert refused["range"] == f"0-{len(FIRST) - 1}"
        assert refused["location"] == location
        assert refused["docker-upload-uuid"] == location.rpartition("/")[2]
    assert await received(registry, location) == f"0-{len(FIRST) - 1}"
    assert (await registry.ask("PATCH", location, content_range(len(FIRST), SECOND), SECOND)).status == 202
    assert await received(registry, location) == f"0-{len(FIRST + SECOND) - 1}"


@pytest.mark.parametrize("value", ["x", "5", "5-", "-5", "9-3", "0-1-2", "9" * 5000 + "-" + "9" * 5001])
@pytest_twisted.ensureDeferred
async def test_a_range_that_is_none_is_refused(registry: Served, value: str) -> None:
    location = await registry.begin_upload()
    answer = await registry.ask("PATCH", location, {"Content-Range": value}, FIRST)
    assert answer.error == (416, "BLOB_UPLOAD_INVALID")
    assert await received(registry, location) == "0--1"


@pytest_twisted.ensureDeferred
async def test_a_range_of_another_length_than_the_part_is_refused(registry: Served) -> None:
    location = await registry.begin_upload()
    answer = await registry.ask("PATCH", location, {"Content-Range": "0-9"}, FIRST)
    assert answer.error == (400, "SIZE_INVALID")
    assert await received(registry, location) == "0--1"
    answer = await registry.ask("PATCH", location, {"Content-Range": "0-9"}, [FIRST])
    assert answer.error == (400, "SIZE_INVALID")
    assert await received(registry, location) == "0--1"


@pytest_twisted.ensureDeferred
async def test_a_wrong_digest_is_refused_and_stores_nothing(registry: Served) -> None:
    wrong = digest_of(b"something else")
    answer = await registry.ask("POST", query("/v2/box/blobs/uploads/", digest=wrong), None, WHOLE)
    assert answer.error == (400, "DIGEST_INVALID")
    location = await registry.begin_upload()
    answer = await registry.ask("PUT", query(location, digest=wrong), None, WHOLE)
    assert answer.error == (400, "DIGEST_INVALID")
    for content in (WHOLE, b"something else"):
        assert (await registry.ask("GET", f"/v2/box/blobs/{digest_of(content)}")).status == 404
    assert not list((registry.store / "uploads").iterdir())


@pytest.mark.parametrize("digest", [None, "", "sha256", "sha256:xyz", "md5:" + "0" * 32])
@pytest_twisted.ensureDeferred
async def test_put_wants_a_digest(registry: Served, digest: str | None) -> None:
    location = await registry.begin_upload()
    await registry.ask("PATCH", location, None, WHOLE)
    target = location if digest is None else query(location, digest=digest)
    assert (await registry.ask("PUT", target, {"Content-Length": 0})).error == (400, "DIGEST_INVALID")
    assert (await registry.ask("PUT", query(location, digest=digest_of(WHOLE)), {"Content-Length": 0})).status == 201


@pytest_twisted.ensureDeferred
async def test_a_session_can_be_cancelled(registry: Served) -> None:
    location = await registry.begin_upload()
    await registry.ask("PATCH", location, None, FIRST)
    answer = await registry.ask("DELETE", location)
    assert (answer.status, answer.content) == (204, b"")
    for method in ("GET", "DELETE", "PATCH", "PUT"):
        target = query(location, digest=digest_of(FIRST))
        assert (await registry.ask(method, target, {"Content-Length": 0})).error == (404, "BLOB_UPLOAD_UNKNOWN")
    assert not list((registry.store / "uploads").iterdir())


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
@pytest_twisted.ensureDeferred
async def test_a_session_is_known_in_its_repository_only(registry: Served, method: str) -> None:
    location = await registry.begin_upload("one")
    elsewhere = location.replace("/v2/one/", "/v2/two/")
    for target in (elsewhere, UNKNOWN, "/v2/box/blobs/uploads/not-a-session", "/v2/box/blobs/uploads/.."):
        answer = await registry.ask(method, target, None, b"x" if method in ("PATCH", "PUT") else None)
        assert answer.error == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest_twisted.ensureDeferred
async def test_a_blob_is_mounted_from_a_repository_that_has_it(registry: Served) -> None:
    digest = await registry.push_blob(WHOLE, "from/here")
    target = query("/v2/to/there/blobs/uploads/", mount=digest, **{"from": "from/here"})
    answer = await registry.ask("POST", target, {"Content-Length": 0})
    assert (answer.status, answer["location"]) == (201, f"/v2/to/there/blobs/{digest}")
    assert answer["docker-content-digest"] == digest
    assert await content_of(registry, WHOLE, "to/there") == WHOLE


@pytest_twisted.ensureDeferred
async def test_a_blob_is_mounted_from_anywhere_where_nobody_says_from_where(registry: Served) -> None:
    digest = await registry.push_blob(WHOLE, "one")
    answer = await registry.ask("POST", query("/v2/two/blobs/uploads/", mount=digest), {"Content-Length": 0})
    assert answer.status == 201
    assert await content_of(registry, WHOLE, "two") == WHOLE


@pytest_twisted.ensureDeferred
async def test_nobody_mounts_from_a_private_repository_without_its_name(serve: Serve) -> None:
    registry = await serve(gateway={"private": "secret, hidden/*"})
    empty = {"Content-Length": 0}
    hidden = await registry.push_blob(WHOLE, "hidden/box")
    for target in ("two", "secret", "hidden/other"):
        mount = query(f"/v2/{target}/blobs/uploads/", mount=hidden)
        assert (await registry.ask("POST", mount, empty)).status == 202
        assert (await registry.ask("HEAD", f"/v2/{target}/blobs/{hidden}")).status == 404
    named = query("/v2/secret/blobs/uploads/", mount=hidden, **{"from": "hidden/box"})
    assert (await registry.ask("POST", named, empty)).status == 201
    await registry.push_blob(WHOLE, "shown")
    mount = query("/v2/two/blobs/uploads/", mount=hidden)
    assert (await registry.ask("POST", mount, empty)).status == 201
    assert await content_of(registry, WHOLE, "two") == WHOLE
    for repository in ("shown", "two"):
        await registry.ask("DELETE", f"/v2/{repository}/blobs/{hidden}")
    assert (await registry.ask("POST", query("/v2/three/blobs/uploads/", mount=hidden), empty)).status == 202


@pytest.mark.parametrize(
    "parameters",
    [
        {"mount": digest_of(b"unknown"), "from": "one"},
        {"mount": digest_of(b"unknown")},
        {"mount": digest_of(WHOLE), "from": "another"},
        {"mount": digest_of(WHOLE), "from": "Not A Name"},
        {"mount": "no-digest", "from": "one"},
        {"mount": ""},
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_mount_that_cannot_be_becomes_an_upload(registry: Served, parameters: dict[str, str]) -> None:
    await registry.push_blob(WHOLE, "one")
    answer = await registry.ask("POST", query("/v2/two/blobs/uploads/", **parameters), {"Content-Length": 0})
    assert answer.status == 202
    put = await registry.ask("PUT", query(answer["location"], digest=digest_of(WHOLE)), None, WHOLE)
    assert put.status == 201


@pytest_twisted.ensureDeferred
async def test_a_blob_that_is_too_long_is_refused(serve: Serve) -> None:
    registry = await serve(registry={"max_blob_size": "1000"})
    fits, too_long = b"x" * 1000, b"x" * 1001
    target = query("/v2/box/blobs/uploads/", digest=digest_of(fits))
    assert (await registry.ask("POST", target, None, [fits])).status == 201
    for content in (too_long, [too_long], [fits, b"x"]):
        target = query("/v2/box/blobs/uploads/", digest=digest_of(too_long))
        assert (await registry.ask("POST", target, None, content)).error == (413, "SIZE_INVALID")
        location = await registry.begin_upload()
        assert (await registry.ask("PATCH", location, None, content)).error == (413, "SIZE_INVALID")
    location = await registry.begin_upload()
    assert (await registry.ask("PATCH", location, None, fits)).status == 202
    assert (await registry.ask("PATCH", location, None, b"x")).error == (413, "SIZE_INVALID")


@pytest_twisted.ensureDeferred
async def test_there_may_be_only_so_many_sessions(serve: Serve) -> None:
    registry = await serve(uploads={"maximum": 2})
    first = await registry.begin_upload()
    await registry.begin_upload()
    refused = await registry.ask("POST", "/v2/box/blobs/uploads/", {"Content-Length": 0})
    assert refused.error == (429, "TOOMANYREQUESTS")
    assert int(refused["retry-after"]) > 0
    await registry.ask("DELETE", first)
    await registry.begin_upload()


@pytest_twisted.ensureDeferred
async def test_one_address_may_have_only_so_many_sessions(serve: Serve) -> None:
    registry = await serve(uploads={"per_client": 1})
    await registry.begin_upload()
    refused = await registry.ask("POST", "/v2/box/blobs/uploads/", {"Content-Length": 0})
    assert refused.error == (429, "TOOMANYREQUESTS")
    from_elsewhere = await connect(
        TCP4ClientEndpoint(reactor, "127.0.0.1", registry.port, bindAddress=("127.0.0.2", 0))
    )
    try:
        answer = await from_elsewhere.ask("POST", "/v2/box/blobs/uploads/", {"Content-Length": 0})
        assert answer.status == 202
    finally:
        from_elsewhere.close()


@pytest_twisted.ensureDeferred
async def test_a_second_request_on_a_busy_session_is_refused_and_mixes_nothing(
    registry: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "TURN_SECONDS", 0.1)
    location = await registry.begin_upload()
    slow = await registry.connect()
    slow.begin("PATCH", location, {"Content-Length": len(WHOLE)})
    slow.send(WHOLE[:1500])
    await pause(0.05)
    for method, target, content in (
        ("PATCH", location, b"intruder"),
        ("PATCH", location, [b"intruder"]),
        ("PUT", query(location, digest=digest_of(WHOLE)), b""),
        ("PUT", query(location, digest=digest_of(WHOLE)), b"intruder"),
        ("DELETE", location, b""),
    ):
        refused = await registry.ask(method, target, None, content)
        assert refused.error == (409, "BLOB_UPLOAD_INVALID")
    slow.send(WHOLE[1500:], "PATCH")
    answer = await slow.answer()
    assert (answer.status, answer["range"]) == (202, f"0-{len(WHOLE) - 1}")
    assert (await registry.ask("PUT", query(location, digest=digest_of(WHOLE)), None, b"")).status == 201


@pytest.mark.parametrize(
    ("method", "digest", "content"),
    [("PUT", digest_of(WHOLE), WHOLE), ("PATCH", None, b"intruder"), ("DELETE", None, b"")],
    ids=["the same again", "another part", "an end"],
)
@pytest_twisted.ensureDeferred
async def test_nothing_comes_between_the_last_part_and_the_blob(
    registry: Served, method: str, digest: str | None, content: bytes
) -> None:
    """A proxy may send a PUT a second time while the first one is under way."""
    location = await registry.begin_upload()
    whole = query(location, digest=digest_of(WHOLE))
    slow = await registry.connect()
    slow.begin("PUT", whole, {"Content-Length": len(WHOLE)})
    slow.send(WHOLE[:1500])
    await pause(0.05)
    other = registry.ask(method, location if digest is None else whole, None, content)
    waiting = Deferred.fromCoroutine(other)
    await pause(0.05)
    assert not waiting.called
    slow.send(WHOLE[1500:], "PUT")
    assert (await slow.answer()).status == 201
    assert (await waiting).error == (404, "BLOB_UPLOAD_UNKNOWN")
    assert await content_of(registry, WHOLE) == WHOLE


@pytest_twisted.ensureDeferred
async def test_who_asks_at_once_after_a_broken_connection_is_told_the_truth(registry: Served) -> None:
    """And can go on there without Content-Range, as docker does: nothing is lost, doubled or mixed."""
    content = os.urandom(2_000_000)
    for attempt in range(5):
        location = await registry.begin_upload()
        broken = await registry.connect()
        broken.begin("PATCH", location, {"Content-Length": len(content)})
        broken.send(content[: 1_200_000 + attempt])
        await pause(0.02)
        if attempt % 2:
            broken.close()
        else:
            broken.wire.abortConnection()
        status = await registry.ask("GET", location)
        received = int(status["range"].partition("-")[2]) + 1
        assert (await registry.ask("PATCH", location, None, content[received:])).status == 202
        finished = await registry.ask("PUT", query(location, digest=digest_of(content)), None, b"")
        assert finished.status == 201


@pytest_twisted.ensureDeferred
async def test_a_client_that_vanished_without_a_word_makes_room_for_its_next_try(
    registry: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "SILENT_SECONDS", 0.2)
    content = os.urandom(500_000)
    location = await registry.begin_upload()
    vanished = await registry.connect()
    vanished.begin("PATCH", location, {"Content-Length": len(content)})
    vanished.send(content[:300_000])
    await pause(0.3)
    status = await registry.ask("GET", location)
    assert status["range"] == "0-299999"
    assert (await registry.ask("PATCH", location, None, content[300_000:])).status == 202
    vanished.send(b"from the grave")
    finished = await registry.ask("PUT", query(location, digest=digest_of(content)), None, b"")
    assert finished.status == 201
    assert (await vanished.answer()).status in {404, 409}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("content_range", [{}, {"Content-Range": f"{len(WHOLE)}-{len(WHOLE)}"}])
@pytest_twisted.ensureDeferred
async def test_an_upload_that_is_stored_takes_no_more_bytes_and_says_so(
    registry: Served, monkeypatch: pytest.MonkeyPatch, method: str, content_range: dict[str, str]
) -> None:
    """The storage failed after it took the content, so the client has nothing to send but its PUT once more."""
    location = await registry.begin_upload()
    await registry.ask("PATCH", location, None, WHOLE)
    finish = query(location, digest=digest_of(WHOLE))
    write = FileTree.write

    def fail(tree: FileTree, path: str, content: bytes) -> None:
        if "_blobs" in path:
            raise OSError(errno.EIO, "broken")
        write(tree, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(FileTree, "write", fail)
        assert (await registry.ask("PUT", finish, {"Content-Length": 0})).status == 503
    refused = await registry.ask(method, finish, content_range, b"x")
    assert refused.error == (416, "BLOB_UPLOAD_INVALID")
    assert refused["range"] == f"0-{len(WHOLE) - 1}" == await received(registry, location)
    assert (await registry.ask("PUT", finish, {"Content-Length": 0})).status == 201
    assert await content_of(registry, WHOLE) == WHOLE
