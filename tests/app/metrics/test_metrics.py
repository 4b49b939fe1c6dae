"""`/metrics` as Prometheus reads it, and the dashboard and the alerts that use the names."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint

from ipfsreg.app.metrics.measured import MeasuredBucket
from ipfsreg.app.tracing.tracing import TracedBucket
from ipfsreg.bucket.bulk import IBulkReads, IFindsByContent
from ipfsreg.bucket.local.bucket import LocalBucket
from ipfsreg.flow.workers import Workers
from tests.app.receiver import Receiver
from tests.clients.programs import TOOLS, require_program
from tests.web.auth.guarded import basic, guarded
from tests.web.client import connect, until
from tests.web.served import Serve, Served, image

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "etc/grafana/ipfsreg.json"
RULES = ROOT / "etc/prometheus/ipfsreg.rules.yml"
ON = {"enabled": "yes"}


async def scraped(served: Served) -> dict[str, Metric]:
    answer = await served.ask("GET", "/metrics")
    assert (answer.status, answer["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {family.name: family for family in text_string_to_metric_families(answer.content.decode())}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    samples = [sample for family in families.values() for sample in family.samples]
    (found,) = [each.value for each in samples if (each.name, each.labels) == (name, labels)]
    return found


@pytest_twisted.ensureDeferred
async def test_what_is_counted(serve: Serve) -> None:
    registry = await serve(metrics=ON)
    layer = b"x" * 100_000
    await registry.push_image("1", layers=[layer])
    for _ in range(3):
        await registry.ask("GET", "/v2/box/manifests/1")
    await registry.ask("GET", "/v2/box/manifests/2")
    await registry.ask("GET", "/nowhere")
    await registry.begin_upload()
    found = await scraped(registry)
    assert value(found, "ipfsreg_requests_total", route="manifest-get", status="200") == 3
    assert value(found, "ipfsreg_requests_total", route="manifest-get", status="404") == 1
    assert value(found, "ipfsreg_requests_total", route="none", status="404") == 1
    assert value(found, "ipfsreg_request_bytes_total", route="upload-begin") == len(layer) + 2
    assert value(found, "ipfsreg_response_bytes_total", route="manifest-get") > 3 * len(image(layers=[layer]))
    assert value(found, "ipfsreg_request_duration_seconds_count", route="manifest-get") == 4
    assert value(found, "ipfsreg_request_duration_seconds_bucket", route="manifest-get", le="+Inf") == 4
    assert value(found, "ipfsreg_requests_in_progress") == 1
    assert value(found, "ipfsreg_upload_sessions") == 1
    assert value(found, "ipfsreg_backend_up", backend="local") == 1
    assert value(found, "ipfsreg_backend_operations_total", backend="local", operation="put_file", outcome="done") == 2
    assert value(found, "ipfsreg_backend_operations_total", backend="local", operation="get", outcome="missing") > 0
    assert value(found, "ipfsreg_backend_operations_in_progress", backend="local", operation="get") == 0
    assert value(found, "ipfsreg_cache_hits_total", cache="memory") > 0
    assert value(found, "ipfsreg_storage_used_bytes") == len(layer) + 2 + len(image(layers=[layer]))
    assert value(found, "ipfsreg_disk_size_bytes") > value(found, "ipfsreg_disk_free_bytes") > 0
    assert value(found, "ipfsreg_worker_task_duration_seconds_count") > 10
    assert value(found, "process_open_fds") > 3
    await registry.daemon.registry.collector.run()
    await registry.daemon.registry.scrubber.run()
    found = await scraped(registry)
    assert value(found, "ipfsreg_gc_runs_total") == 1
    assert value(found, "ipfsreg_scrub_bytes_total") == value(found, "ipfsreg_storage_used_bytes")


@pytest_twisted.ensureDeferred
async def test_a_storage_that_is_away_is_told_apart_from_the_daemon(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipfsreg.registry.readiness.REMEMBERED_SECONDS", 0)
    registry = await serve(metrics=ON)
    (registry.store / "bucket").rename(registry.store / "elsewhere")
    await registry.ask("GET", "/v2/box/manifests/1")
    found = await scraped(registry)
    assert value(found, "ipfsreg_backend_up", backend="local") == 0
    assert value(found, "ipfsreg_backend_operations_total", backend="local", operation="get", outcome="failed") > 0
    assert (await registry.ask("GET", "/livez")).status == 200


@pytest_twisted.ensureDeferred
async def test_no_client_makes_labels(serve: Serve) -> None:
    registry = await serve(metrics=ON)
    await registry.ask("GET", "/metrics")
    before = len((await registry.ask("GET", "/metrics")).content.splitlines())
    for number in range(30):
        await registry.ask("GET", f"/v2/made-up-{number}/manifests/tag-{number}")
        await registry.ask(f"MADEUP{chr(65 + number % 26)}", f"/path-{number}")
        await registry.ask("GET", f"/v2/?query-{number}", {"User-Agent": f"agent-{number}"})
    text = (await registry.ask("GET", "/metrics")).content.decode()
    assert len(text.splitlines()) < before + 130  # of four routes
    assert not re.search(r"made-up|MADEUP|path-|query-|agent-|tag-", text)


@pytest_twisted.ensureDeferred
async def test_they_are_off_unless_they_are_wanted(registry: Served) -> None:
    assert (await registry.ask("GET", "/metrics")).status == 404


@pytest_twisted.ensureDeferred
async def test_on_the_port_of_clients_they_are_for_who_may_administer(serve: Serve, tmp_path: Path) -> None:
    daemon = await guarded(serve, tmp_path, more={"metrics": ON})
    assert (await daemon.ask("GET", "/metrics")).status == 401
    assert (await daemon.ask("GET", "/metrics", basic("deleter"))).status == 403
    assert (await daemon.ask("GET", "/metrics", basic("admin"))).status == 200


@pytest_twisted.ensureDeferred
async def test_on_a_port_of_their_own(serve: Serve) -> None:
    from twisted.internet import reactor

    registry = await serve(metrics={"listen": "tcp:0:interface=127.0.0.1"})
    assert (await registry.ask("GET", "/metrics")).status == 404
    (listener,) = [each for each in registry.daemon.parts.watchers if hasattr(each, "ports")]
    (port,) = listener.ports
    connection = await connect(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port))
    answer = await connection.ask("GET", "/metrics")
    assert answer.status == 200
    assert b"ipfsreg_requests_total" in answer.content
    assert (await connection.ask("GET", "/v2/")).status == 404
    assert (await connection.ask("POST", "/metrics", None, b"")).status == 404
    await registry.stop()
    await connection.ended()


@pytest_twisted.ensureDeferred
async def test_webhooks_are_counted(serve: Serve) -> None:
    receiver = Receiver().start()
    registry = await serve(metrics=ON, webhooks={"endpoints": f"ci {receiver.url}\n  away http://127.0.0.1:1/"})
    await registry.push_image("1")
    await until(lambda: len(receiver.events) == 2)
    while True:
        found = await scraped(registry)
        if value(found, "ipfsreg_webhook_failures_total", endpoint="away") > 0:
            break
    assert value(found, "ipfsreg_webhook_events_sent_total", endpoint="ci") == 2
    assert value(found, "ipfsreg_webhook_events_waiting", endpoint="ci") == 0
    assert value(found, "ipfsreg_webhook_events_waiting", endpoint="away") == 2
    assert value(found, "ipfsreg_events_not_written_total") == 0
    receiver.stop()


def expressions() -> Iterator[str]:
    """Everything that the dashboard and the alerts ask for."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


@pytest_twisted.ensureDeferred
async def test_dashboard_and_alerts_ask_for_what_there_is(serve: Serve) -> None:
    receiver = Receiver().start()
    registry = await serve(metrics=ON, webhooks={"endpoints": f"ci {receiver.url}"})
    await registry.push_image("1")
    await registry.ask("GET", "/v2/box/manifests/1")
    await until(lambda: len(receiver.events) == 3)
    text = (await registry.ask("GET", "/metrics")).content.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {sample.name: sample.labels.keys() for family in families.values() for sample in family.samples}
    asked: set[str] = set()
    for expression in expressions():
        names = set(re.findall(r"\b(?:ipfsreg|process|python)_[a-z0-9_]+", expression))
        asked |= names
        assert names <= samples.keys() | {"process_"}, expression
        labels = set().union(*(samples[name] for name in names)) | {"instance", "le", "job"}
        for group in re.findall(r"by \(([a-z, ]+)\)", expression):
            assert set(group.split(", ")) <= labels, expression
        for matcher in re.findall(r"\{([^}]*)\}", expression):
            assert set(re.findall(r"([a-z]+)=", matcher)) <= labels, expression
    assert len(asked) > 25
    receiver.stop()


def test_every_alert_says_what_to_do() -> None:
    documented = (ROOT / "docs/monitoring.md").read_text()
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"].keys() == {"summary", "description"}
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert f"`{rule['alert']}`" in documented


def test_prometheus_takes_the_alerts() -> None:
    promtool = require_program("promtool", str(TOOLS / "bin"))
    checked = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("observed", [MeasuredBucket, TracedBucket])
@pytest_twisted.ensureDeferred
async def test_a_bucket_that_is_looked_at_still_reads_many_at_once(
    tmp_path: Path, observed: type[MeasuredBucket] | type[TracedBucket]
) -> None:
    workers = Workers(reactor, 2)
    workers.startService()
    try:
        bucket = observed(LocalBucket(tmp_path, workers))
        await bucket.start()
        await bucket.put("d/1", b"one")
        assert IBulkReads.providedBy(bucket)
        assert not IFindsByContent.providedBy(bucket)
        assert await bucket.get_each([("d/1", 10)]) == [b"one"]
        assert [name async for some in bucket.names("d") for name in some] == ["1"]
    finally:
        workers.stopService()
