"""Layers of any size with flat memory: a daemon's own process is watched while they go in and out."""

import hashlib
import http.client
import random
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess
from tests.docs.certificates import make_certificate
from tests.full import FULL

MEBIBYTE = 1024 * 1024
LARGE = 192 if FULL else 96
ALLOWED = 64 * MEBIBYTE
BLOCK = random.Random(5).randbytes(MEBIBYTE)

SLOW_DISK = """
import os, time
_write = os.writev
def writev(descriptor, buffers):
    time.sleep(0.01)
    return _write(descriptor, buffers)
os.writev = writev
"""


def peak_of(pid: int) -> int:
    """The most memory that a process had since `forget_peak`, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def forget_peak(pid: int) -> int:
    """Begin anew with what the process has now, which is answered."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_of(pid)


def pieces(mebibytes: int) -> Iterator[bytes]:
    for _ in range(mebibytes):
        yield BLOCK


def digest_of(mebibytes: int) -> str:
    digest = hashlib.sha256()
    for piece in pieces(mebibytes):
        digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def push(connection: http.client.HTTPConnection, mebibytes: int, *, chunked: bool = False) -> str:
    """Push a layer with one PATCH; answers its digest."""
    connection.request("POST", "/v2/box/blobs/uploads/", b"")
    answer = connection.getresponse()
    answer.read()
    location = answer.headers["Location"]
    headers = {} if chunked else {"Content-Length": str(mebibytes * MEBIBYTE)}
    connection.request("PATCH", location, pieces(mebibytes), headers, encode_chunked=chunked)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (202, b"")
    digest = digest_of(mebibytes)
    connection.request("PUT", f"{location}?digest={digest}", b"")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (201, b"")
    return digest


def pull_slowly(connection: http.client.HTTPConnection, digest: str) -> str:
    """Pull a layer: not at all for a while, then a little, then the rest; answers the digest of what came."""
    connection.request("GET", f"/v2/box/blobs/{digest}")
    answer = connection.getresponse()
    assert answer.status == 200
    received = hashlib.sha256()
    time.sleep(0.5)
    received.update(answer.read(MEBIBYTE))
    time.sleep(0.3)
    while piece := answer.read(MEBIBYTE):
        received.update(piece)
    return f"sha256:{received.hexdigest()}"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path) as running:
        yield running


def connect(daemon: DaemonProcess) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)


def test_a_large_layer_goes_in_and_out(daemon: DaemonProcess) -> None:
    connection = connect(daemon)
    push(connection, 1)  # what is loaded for the first request is not meant
    before = forget_peak(daemon.pid)
    digest = push(connection, LARGE)
    grown_in = peak_of(daemon.pid) - before
    before = forget_peak(daemon.pid)
    assert pull_slowly(connection, digest) == digest
    grown_out = peak_of(daemon.pid) - before
    print(f"{LARGE} MiB: {grown_in / MEBIBYTE:.1f} MiB in, {grown_out / MEBIBYTE:.1f} MiB out")  # noqa: T201
    assert grown_in < ALLOWED
    assert grown_out < ALLOWED


def test_a_large_layer_goes_out_as_a_car(daemon: DaemonProcess) -> None:
    connection = connect(daemon)
    push(connection, 2)
    digest = push(connection, LARGE)
    cid = None
    while cid is None:  # it is computed after the push
        connection.request("HEAD", f"/v2/box/blobs/{digest}")
        answer = connection.getresponse()
        answer.read()
        cid = answer.headers["X-Ipfs-Cid"]
        time.sleep(0.05)
    before = forget_peak(daemon.pid)
    connection.request("GET", f"/ipfs/{cid}?format=car&car-dups=y")  # each of its blocks is the same
    answer = connection.getresponse()
    length, content = int(answer.headers["Content-Length"]), b""
    time.sleep(0.5)
    while piece := answer.read(MEBIBYTE):
        length -= len(piece)
        content = piece
    grown = peak_of(daemon.pid) - before
    print(f"{LARGE} MiB as a CAR: {grown / MEBIBYTE:.1f} MiB")  # noqa: T201
    assert (length, content[-1000:]) == (0, BLOCK[-1000:])
    assert grown < ALLOWED / 2


def test_a_slow_disk_holds_the_client_back(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SLOW_DISK)
    with DaemonProcess(tmp_path, environment={"PYTHONPATH": str(site)}) as daemon:
        connection = connect(daemon)
        push(connection, 1)
        before = forget_peak(daemon.pid)
        begin = time.monotonic()
        push(connection, LARGE * 2 // 3, chunked=True)
        grown = peak_of(daemon.pid) - before
        print(f"{LARGE * 2 // 3} MiB in {time.monotonic() - begin:.1f} s: {grown / MEBIBYTE:.1f} MiB")  # noqa: T201
        assert time.monotonic() - begin > 1.0  # else it was not slow
        assert grown < ALLOWED / 2


def test_many_long_manifests_at_once_share_what_memory_there_is(daemon: DaemonProcess) -> None:
    """Each is all but there, so that each would be in memory if nothing was shared."""
    connection = connect(daemon)
    push(connection, 1)
    before = forget_peak(daemon.pid)
    length = 4 * MEBIBYTE
    pushing = []
    for _ in range(40):
        client = socket.create_connection(("127.0.0.1", daemon.port), timeout=60)
        client.setblocking(False)
        pushing.append(client)
        client.send(b"PUT /v2/box/manifests/v1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
    left = dict.fromkeys(pushing, length - 10)
    until = time.monotonic() + 3.0
    while time.monotonic() < until and any(left.values()):
        for client in pushing:
            with suppress(BlockingIOError):
                left[client] -= client.send(BLOCK[: left[client]])
        time.sleep(0.001)
    grown = peak_of(daemon.pid) - before
    print(f"{len(pushing)} manifests of 4 MiB: {grown / MEBIBYTE:.1f} MiB")  # noqa: T201
    assert grown < ALLOWED
    for client in pushing:
        client.close()
    connection.request("GET", "/v2/")
    assert connection.getresponse().status == 200


def test_tiny_chunks_take_no_more_memory_than_large_ones(daemon: DaemonProcess) -> None:
    connection = connect(daemon)
    push(connection, 1)
    before = forget_peak(daemon.pid)
    connection.request("POST", "/v2/box/blobs/uploads/", b"")
    answer = connection.getresponse()
    answer.read()
    for target, method in ((answer.headers["Location"], "PATCH"), ("/v2/box/manifests/v1", "PUT")):
        connection.putrequest(method, target)
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        connection.send(b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n")
        answer = connection.getresponse()
        assert answer.status in {202, 400}
        answer.read()
    grown = peak_of(daemon.pid) - before
    print(f"400,000 chunks: {grown / MEBIBYTE:.1f} MiB")  # noqa: T201
    assert grown < 16 * MEBIBYTE


def test_a_slow_reader_of_tls_is_not_read_ahead_for(tmp_path: Path) -> None:
    """Behind TLS each byte passes through the daemon's memory."""
    key, certificate = make_certificate(tmp_path)
    daemon = DaemonProcess(tmp_path)
    plain = f"tcp:{daemon.port}:interface=127.0.0.1"
    both = f"{plain}, ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    daemon.config_file.write_text(daemon.config_file.read_text().replace(plain, both))
    with daemon:
        tls_port = int(daemon.log.rpartition("https://127.0.0.1:")[2].partition("/")[0])
        context = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", tls_port, timeout=60, context=context)
        digest = push(connection, LARGE // 2)
        before = forget_peak(daemon.pid)
        assert pull_slowly(connection, digest) == digest
        grown = peak_of(daemon.pid) - before
        print(f"{LARGE // 2} MiB over TLS: {grown / MEBIBYTE:.1f} MiB")  # noqa: T201
        assert grown < ALLOWED / 2
