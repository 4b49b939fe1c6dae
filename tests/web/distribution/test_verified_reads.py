"""``[local] verify_reads``: no client ever has all of a damaged blob."""

import os
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from twisted.logger import LogEvent, formatEvent

from ipfsreg.registry.content import checked_reads
from tests.web.served import Serve, Served, digest_of

LONG, SHORT = Random(1).randbytes(3_000_000), b"short " * 100


async def checked(serve: Serve) -> Served:
    served: Served = await serve(local={"verify_reads": "yes"})
    await served.push_image("1", layers=[LONG, SHORT])
    return served


def file_of(served: Served, content: bytes) -> Path:
    digits = digest_of(content).partition(":")[2]
    return served.store / f"bucket/blobs/sha256/{digits[:2]}/{digits}"


def flip(served: Served, content: bytes) -> None:
    """As a disk does it: the times of the file say nothing."""
    file = file_of(served, content)
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(bytes([content[100] ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


async def get(served: Served, content: bytes, **headers: str) -> tuple[int, bytes]:
    answer = await served.ask("GET", f"/v2/box/blobs/{digest_of(content)}", headers)
    return answer.status, answer.content


def quarantined(log: list[LogEvent], content: bytes) -> int:
    lines = [formatEvent(event) or "" for event in log]
    return sum(f"Damaged content {digest_of(content)} was moved" in line for line in lines)


@pytest_twisted.ensureDeferred
async def test_what_is_whole_is_served(serve: Serve) -> None:
    served = await checked(serve)
    for content in (LONG, SHORT):
        assert await get(served, content) == (200, content)
        assert await get(served, content, Range="bytes=5-99") == (206, content[5:100])
        status, several = await get(served, content, Range="bytes=0-1,50-51")
        assert (status, content[50:52] in several) == (206, True)
    assert (await served.ask("HEAD", f"/v2/box/blobs/{digest_of(LONG)}")).status == 200


@pytest_twisted.ensureDeferred
async def test_the_connection_is_cut_before_the_end_of_a_damaged_blob(serve: Serve, log: list[LogEvent]) -> None:
    served = await checked(serve)
    assert await get(served, LONG) == (200, LONG)  # that it was whole once says nothing
    flip(served, LONG)
    with pytest.raises(ConnectionError):
        await get(served, LONG)
    assert quarantined(log, LONG) == 1
    assert (await get(served, LONG))[0] == 404
    assert quarantined(log, LONG) == 1
    await served.push_blob(LONG)
    assert await get(served, LONG) == (200, LONG)


@pytest_twisted.ensureDeferred
async def test_of_a_short_one_nothing_is_sent(serve: Serve, log: list[LogEvent]) -> None:
    served = await checked(serve)
    flip(served, SHORT)
    status, answer = await get(served, SHORT)
    assert (status, b"damaged" in answer) == (503, True)
    assert quarantined(log, SHORT) == 1
    assert (await get(served, SHORT))[0] == 404


@pytest.mark.parametrize("ranges", ["bytes=2000000-2000009", "bytes=0-1,2000000-2000001"])
@pytest_twisted.ensureDeferred
async def test_of_a_part_nothing_is_sent_before_all_was_looked_at(
    serve: Serve, log: list[LogEvent], ranges: str
) -> None:
    served = await checked(serve)
    flip(served, LONG)
    status, answer = await get(served, LONG, Range=ranges)
    assert (status, b"damaged" in answer) == (503, True)
    assert quarantined(log, LONG) == 1
    assert (await get(served, LONG, Range=ranges))[0] == 404


@pytest_twisted.ensureDeferred
async def test_all_is_looked_at_once_for_the_parts_of_one_file(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = await checked(serve)
    hashed = []
    hash_content = checked_reads.hash_content

    async def noted(*arguments: object) -> int:
        hashed.append(arguments)
        return await hash_content(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(checked_reads, "hash_content", noted)
    for first in (10, 20, 30):
        assert (await get(served, LONG, Range=f"bytes={first}-{first}"))[1] == LONG[first : first + 1]
    assert len(hashed) == 1
    os.utime(file_of(served, LONG))  # another file, as far as anybody can tell
    assert (await get(served, LONG, Range="bytes=1-1"))[0] == 206
    assert len(hashed) == 2


@pytest_twisted.ensureDeferred
async def test_by_default_it_is_served_until_it_is_looked_for(serve: Serve) -> None:
    served = await serve()
    await served.push_image("1", layers=[LONG])
    flip(served, LONG)
    status, content = await get(served, LONG)
    assert (status, content != LONG) == (200, True)
