"""Traces, as a receiver sees them, and clients that see nothing of it."""

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.daemon_process import DaemonProcess
from tests.web.served import image

from .receiver import Receiver
from .test_webhooks import ask, push, push_blob

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

TROUBLE = "#warn] The receiver does not take traces: "


class Collector(Receiver):
    """A receiver of traces."""

    @property
    def spans(self) -> list[Span]:
        """All that it was sent."""
        return [
            span
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def events(self) -> list[Any]:
        """See `Receiver`."""
        return [span.name for span in self.spans]

    def named(self, name: str) -> list[Span]:
        """The spans with that name, when there are any."""
        self.wait(lambda it: name in it.events)
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    collector.start()
    yield collector
    collector.stop()


def options(collector: Collector, **more: str) -> dict[str, dict[str, str]]:
    return {"tracing": {"endpoint": f"http://127.0.0.1:{collector.port}", **more}}


def attributes(span: Span) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in span.attributes}


def test_what_a_trace_has(tmp_path: Path, collector: Collector) -> None:
    with DaemonProcess(tmp_path, options(collector) | {"registry": {"access_log": "yes"}}) as daemon:
        push(daemon, "1")
        ask(daemon, "GET", "/v2/box/manifests/none?token=s3cret", Authorization="Bearer s3cret", User_Agent="docker/1")
        ask(daemon, "GET", "/livez")
        (put,) = collector.named("PUT /v2/{repository}/manifests/{reference}")
        (get,) = collector.named("GET /v2/{repository}/manifests/{reference}")
        log = daemon.log
    assert put.kind == Span.SPAN_KIND_SERVER
    told = attributes(put)
    assert told["http.response.status_code"] == 201
    assert told["http.request.method"] == "PUT"
    assert told["http.route"] == "/v2/{repository}/manifests/{reference}"
    assert (told["ipfsreg.repository"], told["ipfsreg.reference"]) == ("box", "1")
    assert told["http.request.body.size"] == len(image(layers=[b"layer"]))
    assert put.end_time_unix_nano > put.start_time_unix_nano
    children = [span for span in collector.spans if span.parent_span_id == put.span_id]
    assert {span.name for span in children} > {"bucket put"}
    assert {span.trace_id for span in children} == {put.trace_id}
    # A client's mistake is no failure, and what the log calls the request leads to its trace.
    assert attributes(get)["http.response.status_code"] == 404
    assert attributes(get)["user_agent.original"] == "docker/1"
    assert get.status.code == Status.STATUS_CODE_UNSET
    assert f"{get.trace_id.hex()}-{get.span_id.hex()}" in log
    assert not [name for name in collector.events if "livez" in name]
    (resource,) = ExportTraceServiceRequest.FromString(collector.bodies[0]).resource_spans
    assert "ipfsreg" in {each.value.string_value for each in resource.resource.attributes}
    assert b"s3cret" not in b"".join(collector.bodies)


PARENTS = {
    f"00-{TRACE}-{PARENT}-01": True,
    f"cc-{TRACE}-{PARENT}-01-of-tomorrow": True,
    f"ff-{TRACE}-{PARENT}-01": False,
    f"00-{TRACE.upper()}-{PARENT}-01": False,
    f"00-{'0' * 32}-{PARENT}-01": False,
    f"00-{TRACE}-{'0' * 16}-01": False,
    f"00-{TRACE}-{PARENT}-01-more": False,
    f"00-{TRACE}-{PARENT}-01" + "-" * 10_000: False,
    f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01": False,
    "\xff" * 55: False,
    "": False,
}
"""What clients say that their requests belong to, and whether it counts."""


def test_what_a_client_says_it_belongs_to(tmp_path: Path, collector: Collector) -> None:
    with DaemonProcess(tmp_path, options(collector)) as daemon:
        for number, sent in enumerate(PARENTS):
            answer = ask(daemon, "GET", f"/v2/box{number}/tags/list", traceparent=sent, tracestate="a=b," * 2000)
            assert answer.status == 404
        collector.wait(lambda it: it.events.count("GET /v2/{repository}/tags/list") == len(PARENTS))
    found = {attributes(span).get("ipfsreg.repository"): span for span in collector.spans}
    for number, (sent, counts) in enumerate(PARENTS.items()):
        span = found[f"box{number}"]
        assert (span.trace_id.hex() == TRACE) == counts, sent
        assert span.parent_span_id.hex() == (PARENT if counts else "")


def test_a_client_that_goes_away(tmp_path: Path, collector: Collector) -> None:
    with DaemonProcess(tmp_path, options(collector)) as daemon:
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
        connection.putrequest("PUT", "/v2/box/manifests/1")
        connection.putheader("Content-Length", "1000")
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 100")  # so it is being handled
        connection.close()
        (span,) = collector.named("PUT /v2/{repository}/manifests/{reference}")
    assert attributes(span)["error.type"] == "client gone"


def test_only_what_the_client_wants(tmp_path: Path, collector: Collector) -> None:
    with DaemonProcess(tmp_path, options(collector, ratio="0")) as daemon:
        ask(daemon, "GET", "/v2/other/tags/list")
        ask(daemon, "GET", "/v2/no/tags/list", traceparent=f"00-{'1' * 32}-{PARENT}-00")
        answer = ask(daemon, "GET", "/v2/box/tags/list", traceparent=f"00-{TRACE}-{PARENT}-01", X_Request_ID="mine")
        assert answer.headers["X-Request-ID"] == "mine"
        collector.named("GET /v2/{repository}/tags/list")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}


def test_a_method_that_nobody_knows(tmp_path: Path, collector: Collector) -> None:
    """As OpenTelemetry's semantic conventions for HTTP spans have it."""
    with DaemonProcess(tmp_path, options(collector)) as daemon:
        for method in ("M" * 6000, "BREW"):
            assert ask(daemon, method, "/v2/").status == 405
        collector.wait(lambda it: it.events.count("HTTP") == 2)
        spans = {attributes(span)["http.request.method_original"]: span for span in collector.named("HTTP")}
    assert set(spans) == {"M" * 256, "BREW"}
    for span in spans.values():
        assert (span.name, attributes(span)["http.request.method"]) == ("HTTP", "_OTHER")


def test_a_receiver_that_is_not_there_for_a_while(tmp_path: Path) -> None:
    collector = Collector()
    with DaemonProcess(tmp_path, options(collector)) as daemon:
        digest = push_blob(daemon, b"first")
        deadline = time.monotonic() + 20
        while TROUBLE not in daemon.log and time.monotonic() < deadline:
            time.sleep(0.05)
        assert f"{TROUBLE}ConnectionRefusedError" in daemon.log
        assert ask(daemon, "GET", f"/v2/box/blobs/{digest}").status == 200
        collector.start()
        collector.named("POST /v2/{repository}/blobs/uploads/")
        collector.named("GET /v2/{repository}/blobs/{digest}")
        daemon.stop()
        collector.stop()
        assert daemon.log.count(TROUBLE) == 1
        assert "The receiver takes traces again." in daemon.log
        assert "Traces are incomplete" not in daemon.log
        daemon.start()


@pytest.mark.parametrize("status", [0, 400])
def test_a_receiver_that_takes_nothing(tmp_path: Path, collector: Collector, status: int) -> None:
    collector.status = status
    with DaemonProcess(tmp_path, options(collector)) as daemon:
        push_blob(daemon, b"first")
        collector.wait(lambda it: it.asked)
        for _ in range(50):
            assert ask(daemon, "GET", "/v2/").status == 200
        began = time.monotonic()
        daemon.stop()
        assert time.monotonic() - began < 15
        assert re.search(r"#warn\] Traces are incomplete: [0-9]+ spans? lost", daemon.log)
        assert "Could not" not in daemon.log
        assert "again" not in daemon.log
        assert "#error]" not in daemon.log
        daemon.start()


def test_a_receiver_that_refuses(tmp_path: Path, collector: Collector) -> None:
    """What it refuses is not sent again, and that is said: once, though each request is refused anew."""
    collector.status = 401
    with DaemonProcess(tmp_path, options(collector)) as daemon:
        for refused in (1, 2, 3):
            ask(daemon, "GET", "/v2/")
            collector.wait(lambda it, least=refused: it.refused >= least)
        daemon.stop()
        assert daemon.log.count("#warn] The receiver refuses traces: it answered 401. They are lost.") == 1
        lost = re.findall(r"#warn\] Traces are incomplete: (\d+ spans?) lost", daemon.log)
        assert len(lost) == 2
        assert sum(int(each.split()[0]) for each in lost) >= 3
        assert all(each.endswith("s") != (each == "1 span") for each in lost)
        assert "again" not in daemon.log
        daemon.start()


def test_nothing_is_kept_without_an_end(tmp_path: Path, collector: Collector) -> None:
    collector.status = 503
    with DaemonProcess(tmp_path, options(collector)) as daemon:
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
        for _ in range(4300):
            connection.request("GET", "/v2/")
            assert connection.getresponse().read() == b"{}"
        connection.close()
        collector.status = 200
        collector.wait(lambda it: len(it.events) == 4096)
        deadline = time.monotonic() + 20
        while "Traces are incomplete" not in daemon.log and time.monotonic() < deadline:
            time.sleep(0.05)
    lost = re.findall(r"Traces are incomplete: (\d+) spans? lost, which the receiver did not take\.", daemon.log)
    assert sum(map(int, lost)) >= 4300 - 4096


WITHOUT = """
import sys
sys.modules["opentelemetry.sdk"] = None
from ipfsreg.tap import Options, makeService
options = Options()
options["config"] = __import__("pathlib").Path("x.ini")
makeService(options)
"""


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.ini").write_text(f"[local]\npath = {tmp_path}/x\n[tracing]\nendpoint = http://127.0.0.1:4318\n")
    ended = subprocess.run([sys.executable, "-c", WITHOUT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert (
        "x.ini: [tracing] endpoint: install what it needs: .venv/bin/pip install '.[tracing]' in the checkout"
        in ended.stderr
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        "localhost:4318",
        "http://u:s3cret@h",
        "ftp://h",
        "http://h/?s3cret",
        "http://h:x/s3cret",
        "http://",
        "http://h:0",
    ],
)
def test_a_wrong_endpoint(tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "x.ini").write_text(f"[tracing]\nendpoint = {endpoint}\n")
    words = [sys.executable, "-c", "from ipfsreg.cli import run; run()", "check", "--config", "x.ini"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "x.ini: [tracing] endpoint" in ended.stderr
    assert "s3cret" not in ended.stderr


HEADERS = {
    "Authorization=Basic%20x,bads3cret 123": False,
    "bads3cret": False,
    "a b=s3cret": False,
    "x=s3cret%0d%0ay: z": True,  # with a space in it nothing is decoded
    "x=s3cret%0d%0ay:z": False,
    "x=s3cret\x07": False,
    " , ": True,
    "Authorization=Basic s3cret==, X-Scope=1%2C2": True,
}
"""Values of OpenTelemetry's variable, and whether they can be read."""


@pytest.mark.parametrize("value", HEADERS)
def test_headers_of_the_environment_that_cannot_be_read(tmp_path: Path, value: str) -> None:
    (tmp_path / "x.ini").write_text(f"[local]\npath = {tmp_path}/x\n[tracing]\nendpoint = http://127.0.0.1:4318\n")
    daemon = WITHOUT.replace('sys.modules["opentelemetry.sdk"] = None', "")
    check = "from ipfsreg.cli import run; run()"
    for words in (["-c", daemon], ["-c", check, "check", "--config", "x.ini"]):
        ended = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=os.environ | {"OTEL_EXPORTER_OTLP_HEADERS": value},
            capture_output=True,
            text=True,
            check=False,
        )
        said = ended.stdout + ended.stderr
        assert "s3cret" not in said
        assert (ended.returncode == 0) == HEADERS[value], said
        if not HEADERS[value]:
            assert said.count("\n") == 1
            assert "x.ini: [tracing] endpoint: the environment variable OTEL_EXPORTER_OTLP_HEADERS is not" in said


def test_headers_of_the_environment_are_sent(tmp_path: Path, collector: Collector) -> None:
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Basic s3cret==, X-Scope=1%2C2"}
    with DaemonProcess(tmp_path, options(collector), environment) as daemon:
        ask(daemon, "GET", "/v2/")
        collector.named("GET /v2/")
    sent = {name.lower(): value for name, value in collector.headers[0].items()}
    assert (sent["authorization"], sent["x-scope"]) == ("Basic s3cret==", "1,2")
