"""CIDs of large layers on a disk: computed after the push, by a real daemon."""

import hashlib
import http.client
import random
import time
from pathlib import Path

import pytest

from ipfsreg.ipfs.file_dag import FileDag
from ipfsreg.registry.content.content_hash import leaves_of
from ipfsreg.web.replies import CID_HEADER
from tests.daemon_process import DaemonProcess

SECONDS = 30.0
LAYER = random.Random(14).randbytes(3 * 1024 * 1024 + 17)
CID = str(FileDag(leaves_of(LAYER), len(LAYER)).cid)
DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"


def ask(daemon: DaemonProcess, method: str, path: str, body: bytes | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=SECONDS)
    connection.request(method, path, body)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def push(daemon: DaemonProcess) -> None:
    assert ask(daemon, "POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", LAYER).status == 201


def slow_push(daemon: DaemonProcess) -> http.client.HTTPConnection:
    """One that has sent half of its bytes."""
    begun = ask(daemon, "POST", "/v2/other/blobs/uploads/")
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=SECONDS)
    connection.putrequest("PATCH", begun.headers["Location"])
    connection.putheader("Content-Length", "10")
    connection.endheaders(b"five.")
    return connection


def told_cid(daemon: DaemonProcess) -> str | None:
    return ask(daemon, "HEAD", f"/v2/app/blobs/{DIGEST}").headers.get(CID_HEADER)


def wait_for_cid(daemon: DaemonProcess) -> None:
    until = time.monotonic() + SECONDS
    while told_cid(daemon) != CID:
        assert time.monotonic() < until, daemon.log
        time.sleep(0.05)


def test_the_header_appears_without_anybody_asking(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        push(daemon)
        wait_for_cid(daemon)
        until = time.monotonic() + SECONDS
        while not any(path.is_file() for path in (daemon.path / "bucket" / "dags").rglob("*")):  # stored a moment later
            assert time.monotonic() < until
            time.sleep(0.02)


def test_the_gateway_waits_for_it(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        push(daemon)
        answer = ask(daemon, "GET", f"/ipfs/{CID}?format=raw")
        assert answer.status == 200
        assert told_cid(daemon) == CID


def test_while_a_push_goes_on_it_waits_but_not_for_who_asks(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        slow = slow_push(daemon)
        push(daemon)
        time.sleep(1.5)  # more than it takes when nothing is being pushed
        assert told_cid(daemon) is None
        assert ask(daemon, "GET", f"/ipfs/{CID}?format=raw").status == 200
        assert told_cid(daemon) == CID
        slow.send(b"more.")
        assert slow.getresponse().status == 202


@pytest.mark.parametrize("lost", [False, True], ids=["killed", "killed, and its index lost"])
def test_it_goes_on_after_a_kill(tmp_path: Path, lost: bool) -> None:
    with DaemonProcess(tmp_path) as daemon:
        slow = slow_push(daemon)
        push(daemon)
        daemon.kill()
        slow.close()
        assert not (daemon.path / "bucket" / "dags").exists()
        if lost:
            for each in daemon.path.glob("cids.sqlite*"):
                each.unlink()
        daemon.start()
        wait_for_cid(daemon)


def test_what_was_deleted_meanwhile_and_what_is_damaged_hold_up_nothing(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        slow = slow_push(daemon)
        damaged = b"x" * (2 * 1024 * 1024)
        digest = f"sha256:{hashlib.sha256(damaged).hexdigest()}"
        assert ask(daemon, "POST", f"/v2/app/blobs/uploads/?digest={digest}", damaged).status == 201
        push(daemon)
        (file,) = (daemon.path / "bucket" / "blobs").rglob(digest.partition(":")[2])
        with file.open("r+b") as opened:
            opened.write(b"y")
        slow.send(b"more.")
        assert slow.getresponse().status == 202
        wait_for_cid(daemon)
        assert ask(daemon, "HEAD", f"/v2/app/blobs/{digest}").headers.get(CID_HEADER) is None
        assert "It has no CID." in daemon.log
