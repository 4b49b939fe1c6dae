"""Blobs on their way out: by `sendfile`, to slow readers, to readers that go, and from files that break."""

import errno
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import LogEvent, formatEvent

from ipfsreg.flow import sendfile
from tests.web.client import pause, query, until
from tests.web.served import Serve, Served, digest_of, image

CONTENT = os.urandom(9_000_000)


def file_of(registry: Served, content: bytes) -> Path:
    (file,) = (registry.store / "bucket" / "blobs").rglob(digest_of(content).partition(":")[2])
    return file


@pytest_twisted.ensureDeferred
async def test_a_blob_follows_answers_that_are_still_unread(registry: Served) -> None:
    """The connection's buffer is full of earlier answers when the file's turn comes; then more are asked for."""
    await registry.push_blob(b"{}")
    manifest = image(annotations={"long": "x" * 3000})
    assert (await registry.push(manifest, "v1")).status == 201
    await registry.push_blob(CONTENT)
    connection = await registry.connect()
    location = await registry.begin_upload()
    for round_ in range(2):
        connection.wire.pauseProducing()
        for _ in range(1500):
            connection.begin("GET", "/v2/box/manifests/v1")
        connection.begin("GET", f"/v2/box/blobs/{digest_of(CONTENT)}")
        connection.begin("PATCH", location, {"Content-Length": 300_000})
        connection.send(b"x" * 300_000)
        await pause(0.2)
        connection.wire.resumeProducing()
        for _ in range(1500):
            assert (await connection.answer()).content == manifest
        assert (await connection.answer()).content == CONTENT
        assert (await connection.answer())["range"] == f"0-{(round_ + 1) * 300_000 - 1}"


@pytest_twisted.ensureDeferred
async def test_a_blob_whose_headers_fill_the_connections_buffer(registry: Served) -> None:
    """The connection is told to wait, and that it need not any more, though a file has its place meanwhile."""
    await registry.push_blob(CONTENT)
    location = await registry.begin_upload()
    await until(lambda: not registry.daemon.site.connections)
    connection = await registry.connect()
    await connection.ask("GET", "/v2/")
    (served,) = registry.daemon.site.connections
    transport: Any = served.transport
    transport.bufferSize = 100
    for round_ in range(1, 3):
        assert (await connection.ask("GET", f"/v2/box/blobs/{digest_of(CONTENT)}")).content == CONTENT
        assert not served.output.congested
        answer = await connection.ask("PATCH", location, None, b"x" * 500_000)
        assert answer["range"] == f"0-{round_ * 500_000 - 1}"


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_not_in_memory_is_read_in_a_thread(
    registry: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sendfile` would make the reactor wait for the disk."""
    await registry.push_blob(CONTENT)
    read: list[tuple[int, int]] = []
    preadv, pread = os.preadv, os.pread

    def never_cached(descriptor: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError(errno.EAGAIN, "not in the page cache")
        return preadv(descriptor, buffers, offset, flags)

    def slow_disk(descriptor: int, length: int, offset: int) -> bytes:
        read.append((offset, length))
        time.sleep(0.005)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "preadv", never_cached)
    monkeypatch.setattr(os, "pread", slow_disk)
    answer = await registry.ask("GET", f"/v2/box/blobs/{digest_of(CONTENT)}", {"Range": "bytes=1000-8999998"})
    assert answer.content == CONTENT[1000:8999999]
    assert sum(length for _, length in read) == 8_998_999
    read.clear()
    connection = await registry.connect()
    connection.begin("GET", f"/v2/box/blobs/{digest_of(CONTENT)}")
    await until(lambda: len(read) > 2)
    connection.close()  # while a thread reads
    await until(lambda: registry.daemon.site.busy == 0)


@pytest_twisted.ensureDeferred
async def test_a_reader_may_vanish_at_any_time(registry: Served) -> None:
    """No descriptor stays open, and nothing is logged."""
    await registry.push_blob(CONTENT)
    await until(lambda: not registry.daemon.site.connections)
    await pause(0.05)
    before = set(os.listdir("/proc/self/fd"))
    for number in range(12):
        connection = await registry.connect()
        connection.begin("GET", f"/v2/box/blobs/{digest_of(CONTENT)}")
        if number % 3:
            await pause(0.001 * number)
        if number % 2:
            connection.wire.pauseProducing()
            await pause(0.02)
        connection.close()
    await until(lambda: not registry.daemon.site.connections)
    await pause(0.05)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest_twisted.ensureDeferred
async def test_a_file_that_becomes_shorter_ends_the_connection(registry: Served, clean_log: list[LogEvent]) -> None:
    """The client must see that it does not have everything."""
    await registry.push_blob(CONTENT)
    connection = await registry.connect()
    connection.wire.pauseProducing()
    connection.begin("GET", f"/v2/box/blobs/{digest_of(CONTENT)}")
    await pause(0.1)
    with file_of(registry, CONTENT).open("r+b") as file:
        file.truncate(8_000_000)
    connection.wire.resumeProducing()
    with pytest.raises(ConnectionError):
        await connection.answer()
    assert any("became shorter" in formatEvent(event) for event in clean_log)
    assert (await registry.ask("HEAD", f"/v2/box/blobs/{digest_of(CONTENT)}")).status == 404


@pytest_twisted.ensureDeferred
async def test_a_disk_that_cannot_be_read_ends_the_connection(
    registry: Served, monkeypatch: pytest.MonkeyPatch, log: list[LogEvent]
) -> None:
    await registry.push_blob(CONTENT)

    def broken(*arguments: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    def never_cached(*arguments: Any) -> int:
        raise BlockingIOError(errno.EAGAIN, "not in the page cache")

    monkeypatch.setattr(os, "preadv", never_cached)
    monkeypatch.setattr(os, "pread", broken)
    connection = await registry.connect()
    connection.begin("GET", f"/v2/box/blobs/{digest_of(CONTENT)}")
    with pytest.raises(ConnectionError):
        await connection.answer()
    monkeypatch.undo()
    assert (await registry.ask("GET", f"/v2/box/blobs/{digest_of(CONTENT)}")).content == CONTENT
    assert any("Input/output error" in formatEvent(event) for event in log)


@pytest_twisted.ensureDeferred
async def test_a_deleted_blob_is_sent_to_its_end(registry: Served) -> None:
    await registry.push_blob(CONTENT)
    connection = await registry.connect()
    connection.wire.pauseProducing()
    connection.begin("GET", f"/v2/box/blobs/{digest_of(CONTENT)}")
    await pause(0.1)
    file_of(registry, CONTENT).unlink()
    connection.wire.resumeProducing()
    assert (await connection.answer()).content == CONTENT


@pytest_twisted.ensureDeferred
async def test_the_access_log_has_a_line_for_each_request(serve: Serve, log: list[LogEvent]) -> None:
    registry = await serve(registry={"access_log": "yes"})
    content = CONTENT[:200_000]
    digest = await registry.push_blob(content)
    await registry.ask("GET", f"/v2/box/blobs/{digest}", {"Range": "bytes=0-99"})
    await registry.ask(
        "GET", f"/v2/box/blobs/{digest}", {"User-Agent": 'a "program" \xe9', "X-Forwarded-For": "1.2.3.4"}
    )
    await registry.ask("GET", "/v2/%0Abox%1b[31m/tags/list")
    lines = [formatEvent(event) for event in log if "peer" in event]
    timeless = [re.sub(r"\[../.../.{13} \+0000\]", "[T]", line) for line in lines]
    shown = [re.sub(r"[0-9]\.[0-9]{3} [0-9a-f-]+$", "S ID", line) for line in timeless]
    upload = f"/v2/box/blobs/uploads/?digest={digest.replace(':', '%3A')}"
    program = '"a \\x22program\\x22 \\xe9"'
    assert shown == [
        f'127.0.0.1 - - [T] "POST {upload} HTTP/1.1" 201 0 "-" "-" 200000 S ID',
        f'127.0.0.1 - - [T] "GET /v2/box/blobs/{digest} HTTP/1.1" 206 100 "-" "-" 0 S ID',
        f'127.0.0.1 - - [T] "GET /v2/box/blobs/{digest} HTTP/1.1" 200 200000 "-" {program} 0 S ID',
        shown[3],
    ]
    assert shown[3].startswith('127.0.0.1 - - [T] "GET /v2/%0Abox%1b[31m/tags/list HTTP/1.1" 404 ')


@pytest_twisted.ensureDeferred
async def test_the_access_log_can_be_a_file_of_its_own(serve: Serve, tmp_path: Path, log: list[LogEvent]) -> None:
    file = tmp_path / "access.log"
    registry = await serve(log={"access": file})
    await registry.ask("GET", "/v2/", {"X-Request-ID": "mine.1"})
    await registry.ask("GET", "/v2/box/tags/list?n=1")
    await registry.stop()
    first, second = file.read_text().splitlines()
    assert first.endswith(" mine.1")
    assert '"GET /v2/box/tags/list?n=1 HTTP/1.1" 404' in second
    assert file.stat().st_mode & 0o777 == 0o600
    assert not [event for event in log if "peer" in event]


SECRETS = ("hunter2", "tok-en", "dXNlcjpw", "s3cret", "passw0rd")


@pytest_twisted.ensureDeferred
async def test_no_secret_is_in_the_access_log(serve: Serve, tmp_path: Path, log: list[LogEvent]) -> None:
    file = tmp_path / "access.log"
    registry = await serve(log={"access": file}, registry={"access_log": "yes"})
    headers = {
        "Authorization": "Basic dXNlcjpw",
        "Referer": "https://me:hunter2@example.org/page?token=tok-en#s3cret",
        "Cookie": "session=s3cret",
        "X-Request-ID": "passw0rd with blanks",
    }
    for target in (
        "/v2/?access_token=tok-en&n=5&%64igest=s3cret&password=hunter2",
        "/v2/?tok-en",
        "/v2/?" + "s3cret" * 9 + "=1",
        "http://me:hunter2@127.0.0.1/v2/?client_secret=s3cret",
    ):
        await registry.ask("GET", target, headers)
    await registry.stop()
    text = file.read_text()
    logged = "\n".join(formatEvent(event) for event in log if "peer" in event)
    for secret in SECRETS:
        assert secret not in text
        assert secret not in logged
    assert '"GET /v2/?access_token=***&n=5&%64igest=***&password=*** HTTP/1.1"' in text
    assert text.count('"https://example.org/page"') == 4


@pytest_twisted.ensureDeferred
async def test_a_trusted_proxy_says_who_it_was(serve: Serve, log: list[LogEvent]) -> None:
    registry = await serve(registry={"access_log": "yes", "trusted_proxies": "127.0.0.1, 10.0.0.0/8"})
    for forwarded in ("192.0.2.7", "made, up, 192.0.2.7, 10.1.2.3", "192.0.2.7,junk"):
        await registry.ask("GET", "/v2/", {"X-Forwarded-For": forwarded})
    assert [event["peer"] for event in log if "peer" in event] == ["192.0.2.7", "192.0.2.7", "127.0.0.1"]


@pytest_twisted.ensureDeferred
async def test_nothing_is_logged_for_a_request_by_default(registry: Served, log: list[LogEvent]) -> None:
    log.clear()
    await registry.ask("GET", "/v2/")
    await registry.ask("GET", "/nowhere")
    assert [formatEvent(event) for event in log if "GET" in formatEvent(event)] == []


@pytest_twisted.ensureDeferred
async def test_a_client_that_goes_does_not_interrupt_a_commit(
    registry: Served, monkeypatch: pytest.MonkeyPatch, log: list[LogEvent]
) -> None:
    """Klein cancels the handler of a client that is gone; a change that has begun goes on to its end."""
    location = await registry.begin_upload()
    await registry.ask("PATCH", location, None, CONTENT)
    fsync = os.fsync

    def slow_disk(descriptor: int) -> None:
        time.sleep(0.05)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow_disk)
    connection = await registry.connect()
    connection.begin("PUT", query(location, digest=digest_of(CONTENT)), {"Content-Length": 0})
    await pause(0.02)
    connection.close()
    target = f"/v2/box/blobs/{digest_of(CONTENT)}"
    await until(lambda: not registry.daemon.site.connections)
    for _ in range(100):
        if (await registry.ask("GET", location)).status == 404:
            break
        await pause(0.02)
    monkeypatch.undo()
    assert (await registry.ask("GET", target)).content == CONTENT


@pytest_twisted.ensureDeferred
async def test_what_fails_when_the_client_is_gone_is_still_logged(
    registry: Served, monkeypatch: pytest.MonkeyPatch, log: list[LogEvent]
) -> None:
    location = await registry.begin_upload()
    await registry.ask("PATCH", location, None, b"content")

    def full_disk(descriptor: int) -> None:
        time.sleep(0.1)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    connection = await registry.connect()
    connection.begin("PUT", query(location, digest=digest_of(b"content")), {"Content-Length": 0})
    await pause(0.03)
    connection.close()
    await until(lambda: any("No space left on device" in formatEvent(event) for event in log))


@pytest_twisted.ensureDeferred
async def test_the_window_is_smaller_than_the_test_content(registry: Served) -> None:
    """Else the tests of this module would test less than they say."""
    assert len(CONTENT) > 4 * sendfile.WINDOW
