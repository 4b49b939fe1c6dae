"""What a trace has of a node, and what the node is told of the trace."""

from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.app.test_tracing import Collector, options
from tests.app.test_webhooks import ask, push
from tests.daemon_process import DaemonProcess

from .front import Answer, Call, Front, failure
from .node import KuboNode

PUT = "PUT /v2/{repository}/manifests/{reference}"


def _parent(call: Call) -> tuple[str, str] | None:
    """The trace and span that a call said it belonged to."""
    sent = [value for name, value in call.headers.items() if name.lower() == "traceparent"]
    return (sent[0].split("-")[1], sent[0].split("-")[2]) if sent else None


def test_calls_of_a_node(tmp_path: Path, node: KuboNode) -> None:
    collector = Collector()
    collector.start()

    def fail(_: Call) -> Answer:
        return failure("the disk is full")

    with Front(node).running() as front:
        kubo = {"registry": {"backend": "kubo"}, "kubo": {"api": front.url, "directory": str(tmp_path / "state")}}
        with DaemonProcess(tmp_path, {**kubo, **options(collector)}) as daemon:
            push(daemon, "1")
            (put,) = collector.named(PUT)
            front.hooks["*"] = fail
            assert ask(daemon, "GET", "/v2/box/manifests/none").status == 503
            (get,) = collector.named("GET /v2/{repository}/manifests/{reference}")
            front.hooks.clear()
    collector.stop()
    spans = {span.span_id.hex(): span for span in collector.spans}
    within = [span for span in spans.values() if span.trace_id == put.trace_id]
    calls = [span for span in within if span.name.startswith("kubo ")]
    assert calls
    for call in calls:
        assert call.kind == Span.SPAN_KIND_CLIENT
        above = spans[call.parent_span_id.hex()]
        while above.span_id != put.span_id:
            assert above.name.startswith("bucket ")
            above = spans[above.parent_span_id.hex()]
    told = {_parent(each): each.command for each in front.calls}
    for call in calls:
        assert told[call.trace_id.hex(), call.span_id.hex()] == call.name.removeprefix("kubo ")
    assert get.status.code == Status.STATUS_CODE_ERROR
    failed = [span for span in spans.values() if span.trace_id == get.trace_id and span.name.startswith("kubo ")]
    assert {span.status.code for span in failed} == {Status.STATUS_CODE_ERROR}
