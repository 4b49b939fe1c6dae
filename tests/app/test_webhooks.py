"""Webhooks as a receiver sees them: what is sent, and what is not lost."""

import hashlib
import hmac
import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import DaemonProcess
from tests.web.served import MANIFEST_TYPE, digest_of, image

from .receiver import Receiver

ENVELOPE = "application/vnd.docker.distribution.events.v1+json"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver().start()
    yield receiver
    receiver.stop()


def ask(
    daemon: DaemonProcess, method: str, target: str, content: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    connection.request(method, target, content, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def push_blob(daemon: DaemonProcess, content: bytes, repository: str = "box") -> str:
    digest = digest_of(content)
    assert ask(daemon, "POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content).status == 201
    return digest


def push(daemon: DaemonProcess, reference: str, content: bytes = b"layer", repository: str = "box") -> str:
    for blob in (b"{}", content):
        push_blob(daemon, blob, repository)
    return push_manifest(daemon, reference, image(layers=[content]), repository)


def push_manifest(daemon: DaemonProcess, reference: str, manifest: bytes, repository: str = "box") -> str:
    target = f"/v2/{repository}/manifests/{reference}"
    assert ask(daemon, "PUT", target, manifest, Content_Type=MANIFEST_TYPE).status == 201
    return digest_of(manifest)


def options(*lines: str, **more: str) -> dict[str, dict[str, str]]:
    return {"webhooks": {"endpoints": "\n" + "\n".join(f"    {line}" for line in lines), **more}}


def told(event: dict[str, Any]) -> tuple[str, str, str | None]:
    target = event["target"]
    return event["action"], target.get("mediaType", ""), target.get("tag") or target.get("digest")


def test_what_is_sent(tmp_path: Path, receiver: Receiver) -> None:
    (tmp_path / "secret").write_text("the key\n")
    lines = options(f"ci {receiver.url} secret={tmp_path}/secret")
    with DaemonProcess(tmp_path, lines) as daemon:
        digest = push(daemon, "1?tag=2&tag=3")
        layer = digest_of(b"layer")
        mount = f"/v2/other/blobs/uploads/?mount={layer}&from=box"
        assert ask(daemon, "POST", mount, b"").status == 201
        ask(daemon, "GET", "/v2/box/manifests/1", User_Agent="docker/1", X_Request_ID="mine")
        ask(daemon, "GET", f"/v2/box/blobs/{layer}")
        ask(daemon, "DELETE", "/v2/box/manifests/2")
        ask(daemon, "DELETE", f"/v2/box/manifests/{digest}")
        ask(daemon, "GET", "/v2/box/manifests/1")  # is no more
        receiver.wait(lambda it: len(it.events) == 10)
        assert sorted(map(told, receiver.events), key=str) == sorted(
            [
                ("push", "application/octet-stream", digest_of(b"{}")),
                ("push", "application/octet-stream", layer),
                *(("push", MANIFEST_TYPE, tag) for tag in "123"),
                ("mount", "application/octet-stream", layer),
                ("pull", MANIFEST_TYPE, "1"),
                ("pull", "application/octet-stream", layer),
                ("delete", "", "2"),
                ("delete", "", digest),
            ],
            key=str,
        )
        (pull,) = [event for event in receiver.events if event["request"].get("id") == "mine"]
        size = len(image(layers=[b"layer"]))
        assert {key: pull[key] for key in ("action", "target", "actor")} == {
            "action": "pull",
            "target": {
                "mediaType": MANIFEST_TYPE,
                "digest": digest,
                "size": size,
                "length": size,
                "repository": "box",
                "url": f"{daemon.url}/v2/box/manifests/{digest}",
                "tag": "1",
            },
            "actor": {},
        }
        assert pull["request"] == {
            "id": "mine",
            "addr": "127.0.0.1",
            "host": daemon.host,
            "method": "GET",
            "useragent": "docker/1",
        }
        (mounted,) = [event for event in receiver.events if event["action"] == "mount"]
        assert mounted["target"]["fromRepository"] == "box"
        assert len({event["id"] for event in receiver.events}) == 10
        for body, headers in zip(receiver.bodies, receiver.headers, strict=True):
            assert headers["Content-Type"] == ENVELOPE
            signature = hmac.new(b"the key", body, hashlib.sha256).hexdigest()
            assert headers["X-Hub-Signature-256"] == f"sha256={signature}"
            assert "Cookie" not in headers
        assert "the key" not in daemon.log
        assert "s3cret" not in daemon.log


def test_what_an_endpoint_ignores_is_not_sent_to_it(tmp_path: Path, receiver: Receiver) -> None:
    other = Receiver().start()
    lines = options(f"ci {receiver.url} ignore=pull,application/octet-stream", f"all {other.url}")
    with DaemonProcess(tmp_path, lines) as daemon:
        push(daemon, "1")
        ask(daemon, "GET", "/v2/box/manifests/1")
        ask(daemon, "DELETE", "/v2/box/manifests/1")
        receiver.wait(lambda it: len(it.events) == 2)
        assert [event["action"] for event in receiver.events] == ["push", "delete"]
        other.wait(lambda it: len(it.events) == 5)
    other.stop()


def test_nothing_is_lost_while_the_receiver_is_away_and_the_daemon_is_killed(tmp_path: Path) -> None:
    """A push that was acknowledged is told of, whatever happens next."""
    receiver = Receiver()
    daemon = DaemonProcess(tmp_path, options(f"ci {receiver.url} ignore=application/octet-stream"))
    with daemon:
        push(daemon, "first")
        for round_ in range(3):
            push_manifest(daemon, f"tag{round_}", image(layers=[b"layer"]))
            daemon.kill()  # right after the answer
            daemon.start()
        end = time.monotonic() + 20
        while "The webhook ci does not take events" not in daemon.log:
            assert time.monotonic() < end
            time.sleep(0.02)
        receiver.start()
        receiver.wait(lambda it: len({event["id"] for event in it.events}) == 4)
        assert [event["target"]["tag"] for event in receiver.events] == ["first", "tag0", "tag1", "tag2"]
        daemon.restart()
        push_manifest(daemon, "last", image(layers=[b"layer"]))
        receiver.wait(lambda it: it.events[-1]["target"]["tag"] == "last")
        assert len(receiver.events) == 5  # none came twice, for each had been answered
        assert "s3cret" not in daemon.log
        assert "The webhook ci" in daemon.log
    receiver.stop()


def test_a_kill_while_a_receiver_is_being_told_loses_nothing(tmp_path: Path, receiver: Receiver) -> None:
    """It was sent and is not answered: nobody knows whether it came, so it is sent again, with the same id."""
    receiver.status = 0
    with DaemonProcess(tmp_path, options(f"ci {receiver.url} ignore=application/octet-stream")) as daemon:
        push(daemon, "1")
        receiver.wait(lambda it: it.asked == 1)
        push_manifest(daemon, "2", image(layers=[b"layer"]))
        daemon.kill()
        receiver.status = 200
        daemon.start()
        receiver.wait(lambda it: [event["target"]["tag"] for event in it.events] == ["1", "2"])


@pytest.mark.parametrize("status", [500, 404, 302, 0])
def test_an_endpoint_that_does_not_take_them_holds_up_nobody(tmp_path: Path, receiver: Receiver, status: int) -> None:
    receiver.status = status
    good = Receiver().start()
    lines = options(f"bad {receiver.url}", f"good {good.url}", timeout="500ms")
    with DaemonProcess(tmp_path, lines) as daemon:
        began = time.monotonic()
        push(daemon, "1")
        assert time.monotonic() - began < 10
        good.wait(lambda it: len(it.events) == 3)
        receiver.status = 200
        receiver.wait(lambda it: len(it.events) == 3)
        why = "no answer within 0.5 s" if status == 0 else f"it answered {status}"
        assert f"The webhook bad does not take events: {why}" in daemon.log
    good.stop()


def test_more_than_the_queue_holds_is_counted_and_said(tmp_path: Path) -> None:
    receiver = Receiver()
    with DaemonProcess(tmp_path, options(f"ci {receiver.url}", queue="100")) as daemon:
        push(daemon, "1")
        manifest = image(layers=[b"layer"])
        for number in range(120):
            push_manifest(daemon, str(number), manifest)
        assert "The webhook ci has lost 1 events so far: more than 100 wait." in daemon.log
        receiver.start()
        receiver.wait(lambda it: len(it.events) == 100)
        assert [event["target"]["tag"] for event in receiver.events] == [str(number) for number in range(20, 120)]
    receiver.stop()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ci", "a line is NAME URL [secret=FILE] [ignore=WHAT,…]"),
        ("ci ftp://x/s3cret", "ci: its URL is not one of http:// or https://"),
        ("ci https://a:s3cret@x/", "ci: its URL has a password in it; sign with secret=FILE instead"),
        ("a/b https://x/s3cret", "a line begins with a name"),
        ("ci https://x/s3cret ignore=pushes", "'pushes' is neither delete, mount, pull, push nor a media type"),
        ("ci https://x/s3cret key=s3cret", "ci: what follows its URL is secret=FILE or ignore=WHAT,…"),
        ("ci https://x/s3cret secret=missing", "missing: No such file or directory"),
    ],
)
def test_what_cannot_be(tmp_path: Path, line: str, said: str) -> None:
    daemon = DaemonProcess(tmp_path, options(line))
    with pytest.raises(RuntimeError, match="ended at once"):
        daemon.start()
    assert said in daemon.log
    assert "s3cret" not in daemon.log


def test_a_log_of_events_that_is_no_database(tmp_path: Path, receiver: Receiver) -> None:
    daemon = DaemonProcess(tmp_path, options(f"ci {receiver.url}"))
    daemon.path.mkdir()
    (daemon.path / "events.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(RuntimeError, match="ended at once"):
        daemon.start()
    assert "events.sqlite: file is not a database; move it away to begin a new one" in daemon.log


def test_what_commands_do_is_told_too(tmp_path: Path, receiver: Receiver) -> None:
    with DaemonProcess(tmp_path, options(f"ci {receiver.url} ignore=application/octet-stream")) as daemon:
        digest = push(daemon, "1")
        assert daemon.command("export", "-o", "image.car", "box:1").returncode == 0
        assert daemon.command("import", "image.car", "other:2").returncode == 0
        assert daemon.command("rm", "--yes", "other:2").returncode == 0
        receiver.wait(lambda it: len(it.events) == 3)
        told = [
            (event["action"], event["actor"].get("name"), event["target"]["repository"]) for event in receiver.events
        ]
        assert told == [("push", None, "box"), ("push", "ipfsreg import", "other"), ("delete", "ipfsreg rm", "other")]
        assert receiver.events[1]["target"]["digest"] == digest
        assert receiver.events[2]["target"]["tag"] == "2"


def test_beside_an_encrypted_bucket_no_event_is_on_this_disk(tmp_path: Path, receiver: Receiver) -> None:
    encryption = {"enabled": "yes", "key": str(tmp_path / "member.key")}
    daemon = DaemonProcess(
        tmp_path, {"encryption": encryption, **options(f"ci {receiver.url}", "away http://127.0.0.1:1/")}
    )
    assert daemon.command("keys", "init", str(tmp_path / "member.key")).returncode == 0
    with daemon:
        push(daemon, "a-tag-of-mine", repository="a-name-of-mine")
        receiver.wait(lambda it: len(it.events) == 3)
        assert not list(daemon.path.glob("events*"))
        for file in daemon.path.rglob("*"):
            assert not file.is_file() or b"-of-mine" not in file.read_bytes(), file
