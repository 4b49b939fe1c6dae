"""The time of day is set while the daemon runs: by some minutes, ahead by more than a day, and back by a year.

The daemon runs under libfaketime, which gives it the time that a file says. Nothing that is under way ends, nothing
that waits waits for ever, and nothing goes too early.
"""

import base64
import hashlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.access.helpers import HASH, PASSWORD
from tests.clients.programs import unavailable
from tests.daemon_process import DaemonProcess
from tests.full import some
from tests.hostile.documents import OCI_IMAGE

from .receiver import Receiver

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
BASIC = {"Authorization": "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()}
MINUTE, HOUR, YEAR = 60, 3600, 365 * 24 * 3600
STEPS = {"thirty hours ahead": 30 * HOUR, "ten minutes ahead": 10 * MINUTE, "a year back": -YEAR}
SIZE = 3_000_000


class Clocked:
    """A daemon with access control, pages, webhooks and an encrypted bucket, whose time of day is in a file."""

    def __init__(self, directory: Path, library: Path) -> None:
        self.receiver = Receiver().start()
        self._offset = directory / "offset"
        self.set_ahead(0)
        (directory / "htpasswd").write_text(f"alice:{HASH}\n")
        config = {
            "auth": {"htpasswd": f"{directory}/htpasswd"},
            "access": {"rules": "\n    allow alice *,catalog,admin **"},
            "webhooks": {"endpoints": f"ci {self.receiver.url}"},
            "gc": {"interval": "never"},
            "retention": {"rules": "\n    ** old-* pushed 20h", "interval": "1s"},
        }
        environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        self.daemon = DaemonProcess(directory, config)
        variables = [f"{name}={value}" for name, value in environment.items()]
        self.daemon.command_line = ["/usr/bin/env", *variables, *self.daemon.command_line]

    def set_ahead(self, seconds: int) -> None:
        """Set the time of day so many seconds ahead of the true one."""
        draft = self._offset.with_name("draft")
        draft.write_text(f"{seconds:+d}\n")
        draft.rename(self._offset)

    def ask(
        self, method: str, target: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One answer, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=30)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, given or BASIC)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def push(self, tag: str) -> bytes:
        """An image of one blob."""
        blob = f"blob of {tag}".encode()
        digest = "sha256:" + hashlib.sha256(blob).hexdigest()
        assert self.ask("POST", f"/v2/app/blobs/uploads/?digest={digest}", blob)[0] == 201
        part = {"mediaType": "application/octet-stream", "digest": digest, "size": len(blob)}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": part, "layers": []}).encode()
        typed = {**BASIC, "Content-Type": OCI_IMAGE}
        assert self.ask("PUT", f"/v2/app/manifests/{tag}", manifest, **typed)[0] == 201
        return manifest

    def sign_in(self) -> str:
        """The cookies of somebody who has signed in to the pages."""
        _, headers, page = self.ask("GET", "/sign-in", Accept="text/html")
        form = page.decode().split("<form")[-1]
        fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form))
        fields = {name: unescape(value) for name, value in fields.items()} | {"name": "alice", "password": PASSWORD}
        cookie = headers["Set-Cookie"].partition(";")[0]
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html", "Cookie": cookie}
        status, headers, answer = self.ask("POST", "/sign-in", urlencode(fields).encode(), **sent)
        assert status == 303, answer
        return "; ".join(each.partition(";")[0] for each in [cookie, *headers.get_all("Set-Cookie", [])])

    def token(self) -> str:
        """A token to pull with."""
        found: str = json.loads(self.ask("GET", "/auth/token?service=ipfsreg&scope=repository:app:pull")[2])["token"]
        return found

    def __enter__(self) -> "Clocked":
        self.daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.receiver.stop()
        self.daemon.stop()
        self.daemon.check_log()


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Clocked]:
    if not LIBRARIES:
        unavailable("libfaketime is not installed")
    with Clocked(tmp_path, LIBRARIES[0]) as clocked:
        yield clocked


class Slow:
    """An upload and a download that go on slowly, an upload session that rests, and a stream of events."""

    def __init__(self, clocked: Clocked) -> None:
        self._clocked = clocked
        self._content = bytes(SIZE)
        self._digest = "sha256:" + hashlib.sha256(self._content).hexdigest()
        assert clocked.ask("POST", f"/v2/app/blobs/uploads/?digest={self._digest}", self._content)[0] == 201
        self._events = self._connect("GET /events HTTP/1.1")
        self._rests = clocked.ask("POST", "/v2/app/blobs/uploads/")[1]["Location"]
        self._rests = clocked.ask("PATCH", self._rests, b"half")[1]["Location"]
        location = clocked.ask("POST", "/v2/app/blobs/uploads/")[1]["Location"]
        joint = "&" if "?" in location else "?"
        self._up = self._connect(f"PUT {location}{joint}digest={self._digest} HTTP/1.1\r\nContent-Length: {SIZE}")
        self._up.sendall(self._content[: SIZE // 2])
        self._down = self._connect(f"GET /v2/app/blobs/{self._digest} HTTP/1.1\r\nConnection: close")
        self._received = len(self._down.recv(1000))
        self._kept = http.client.HTTPConnection("127.0.0.1", clocked.daemon.port, timeout=30)
        self._kept.request("GET", "/v2/", headers=BASIC)
        self._kept.getresponse().read()
        self._socket = self._kept.sock

    def _connect(self, head: str) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self._clocked.daemon.port), timeout=30)
        connected.sendall(f"{head}\r\nHost: x\r\nAuthorization: {BASIC['Authorization']}\r\n\r\n".encode())
        return connected

    def finish(self) -> None:
        """All of it goes on to its end."""
        self._up.sendall(self._content[SIZE // 2 :])
        assert self._up.recv(100).startswith(b"HTTP/1.1 201 ")
        while piece := self._down.recv(100_000):
            self._received += len(piece)
        assert self._received > SIZE
        whole = b"half" + b"half"
        digest = "sha256:" + hashlib.sha256(whole).hexdigest()
        joint = "&" if "?" in self._rests else "?"
        assert self._clocked.ask("PUT", f"{self._rests}{joint}digest={digest}", b"half")[0] == 201
        self._kept.request("GET", "/v2/", headers=BASIC)
        assert self._kept.getresponse().read() is not None
        assert self._kept.sock is self._socket
        told = b""
        while b'"after"' not in told:
            told += self._events.recv(10_000)
        for each in (self._up, self._down, self._events):
            each.close()
        self._kept.close()


@pytest.mark.parametrize("step", some(1, list(STEPS)))
def test_what_is_under_way_goes_on(clocked: Clocked, step: str) -> None:
    before = clocked.push("before")
    cookies = clocked.sign_in()
    token = clocked.token()
    slow = Slow(clocked)
    clocked.receiver.status = 503  # so that events wait to be sent again
    clocked.push("old-waits")
    clocked.set_ahead(STEPS[step])
    time.sleep(1.5)
    clocked.push("after")
    slow.finish()
    clocked.receiver.status = 200
    clocked.receiver.wait(lambda receiver: any(each["target"].get("tag") == "after" for each in receiver.events))
    tags = [each["target"].get("tag") for each in clocked.receiver.events if each["target"].get("tag")]
    assert tags.index("old-waits") < tags.index("after"), "in order"
    # Who is signed in may have to sign in again, when more than a day seems to have gone. Nobody is locked out.
    status, _, _ = clocked.ask("GET", "/", Cookie=cookies, Accept="text/html")
    assert status in ({200, 303} if STEPS[step] > HOUR else {200})
    assert clocked.ask("GET", "/v2/app/tags/list", Authorization=f"Bearer {token}")[0] in {200, 401}
    assert clocked.ask("GET", "/", Cookie=clocked.sign_in(), Accept="text/html")[0] == 200
    token = clocked.token()
    assert clocked.ask("GET", "/v2/app/tags/list", Authorization=f"Bearer {token}")[0] == 200
    # Nothing goes too early: [retention] is applied each second.
    assert ("[retention] is not applied today" in clocked.daemon.log) == (STEPS[step] > HOUR)
    collected = clocked.daemon.command("gc")
    assert collected.returncode == 0, collected.stderr
    assert clocked.ask("GET", "/v2/app/manifests/before")[2] == before
    assert json.loads(clocked.ask("GET", "/v2/app/tags/list")[2])["tags"] == ["after", "before", "old-waits"]
    verified = clocked.daemon.command("verify")
    assert verified.returncode == 0, verified.stdout
    # And back: what was written meanwhile is there, the daemon goes on.
    clocked.set_ahead(0)
    clocked.push("again")
    assert clocked.daemon.command("gc").returncode == 0
    clocked.daemon.stop()
    clocked.daemon.start()
    assert json.loads(clocked.ask("GET", "/v2/app/tags/list")[2])["tags"] == ["after", "again", "before", "old-waits"]
