"""What one user may have of unfinished uploads, from whatever addresses: ``[limits]``."""

from pathlib import Path

import pytest_twisted

from tests.web.client import query
from tests.web.served import Serve, digest_of

from .guarded import Guarded, basic, guarded

TARGET = "/v2/team/app/blobs/uploads/"
WRITER, DELETER = basic("writer"), basic("deleter")


async def begin(daemon: Guarded, who: dict[str, object]) -> str:
    """Each is from an address of its own."""
    answer = await daemon.ask("POST", TARGET, who, b"")
    assert answer.status == 202
    return answer["location"]


@pytest_twisted.ensureDeferred
async def test_a_user_has_so_many_uploads_whatever_the_address(serve: Serve, tmp_path: Path) -> None:
    daemon = await guarded(serve, tmp_path, more={"limits": {"uploads_per_user": 2}})
    first, _ = [await begin(daemon, WRITER) for _ in range(2)]
    refused = await daemon.ask("POST", TARGET, WRITER, b"")
    assert refused.error == (429, "TOOMANYREQUESTS")
    assert "the user writer" in refused.json()["errors"][0]["message"]
    assert int(refused["retry-after"]) > 0
    await begin(daemon, DELETER)  # another one is not concerned
    assert (await daemon.ask("DELETE", first, WRITER)).status == 204
    await begin(daemon, WRITER)


@pytest_twisted.ensureDeferred
async def test_the_bytes_of_a_users_uploads_are_counted_together(serve: Serve, tmp_path: Path) -> None:
    daemon = await guarded(serve, tmp_path, more={"limits": {"unfinished_size_per_user": 1000}})
    one, two = await begin(daemon, WRITER), await begin(daemon, WRITER)
    assert (await daemon.ask("PATCH", one, WRITER, b"x" * 600)).status == 202
    refused = await daemon.ask("PATCH", two, WRITER, b"y" * 401)
    assert refused.error == (429, "TOOMANYREQUESTS")
    assert refused.json()["errors"][0]["detail"] == {"used": 600, "allowed": 1000, "needed": 401}
    assert (await daemon.ask("PATCH", two, WRITER, b"y" * 400)).status == 202
    assert (await daemon.ask("PATCH", await begin(daemon, DELETER), DELETER, b"z" * 1000)).status == 202
    # What is finished or cancelled does not count any more.
    for location, content in ((one, b"x" * 600), (two, b"y" * 400)):
        assert (await daemon.ask("PUT", query(location, digest=digest_of(content)), WRITER)).status == 201
    three = await begin(daemon, WRITER)
    assert (await daemon.ask("PATCH", three, WRITER, b"x" * 1000)).status == 202
    assert (await daemon.ask("DELETE", three, WRITER)).status == 204
    target = query(TARGET, digest=digest_of(b"w" * 1000))
    assert (await daemon.ask("POST", target, WRITER, b"w" * 1000)).status == 201


@pytest_twisted.ensureDeferred
async def test_a_stream_that_grows_beyond_is_stopped_and_thrown_away(serve: Serve, tmp_path: Path) -> None:
    daemon = await guarded(serve, tmp_path, more={"limits": {"unfinished_size_per_user": 1000}})
    location = await begin(daemon, WRITER)
    refused = await daemon.ask("PATCH", location, WRITER, [b"x" * 600, b"x" * 600])
    assert refused.error == (429, "TOOMANYREQUESTS")
    assert (await daemon.ask("GET", location, WRITER)).status == 404
    # It took nothing with it.
    assert (await daemon.ask("PATCH", await begin(daemon, WRITER), WRITER, [b"x" * 600, b"x" * 400])).status == 202


@pytest_twisted.ensureDeferred
async def test_without_users_an_address_counts(serve: Serve) -> None:
    served = await serve(limits={"unfinished_size_per_user": 1000})
    location = await served.begin_upload()
    refused = await served.ask("PATCH", location, None, b"x" * 1001)
    assert refused.error == (429, "TOOMANYREQUESTS")
    assert "the address 127.0.0.1" in refused.json()["errors"][0]["message"]
    assert (await served.ask("PATCH", location, None, b"x" * 1000)).status == 202
