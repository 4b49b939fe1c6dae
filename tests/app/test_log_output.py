"""What the log looks like, as a reader of it sees: lines, JSON, levels, and the names of requests."""

import http.client
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import DaemonProcess

HEADER = "X-Request-ID"


def ask(daemon: DaemonProcess, target: str, **headers: str) -> tuple[int, str | None, dict[str, Any]]:
    """Status, the name of the request as the answer has it, and the first error."""
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
    try:
        connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    errors = json.loads(content).get("errors", [{}]) if content[:1] == b"{" else [{}]
    return answer.status, answer.getheader(HEADER), errors[0]


def breaking(daemon: DaemonProcess) -> None:
    """Have the storage fail."""
    (daemon.path / "bucket").rename(daemon.path / "elsewhere")


def test_an_error_and_its_line_in_the_log_name_the_request(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        assert ask(daemon, "/v2/")[1] is None
        assert ask(daemon, "/v2/", X_Request_ID="mine")[1] == "mine"
        status, name, error = ask(daemon, "/v2/box/tags/list")
        assert (status, name is None) == (404, False)
        assert "request" not in error["message"]  # it is in the header, and the log has nothing of it
        breaking(daemon)
        status, name, error = ask(daemon, "/readyz")
        assert status == 503
        assert name is not None
        assert error["message"].endswith(f" (request {name})")
        (line,) = [line for line in daemon.log.splitlines() if "GET /readyz" in line]
        assert f"#error {name}] GET /readyz: " in line
        ask(daemon, "/readyz", X_Request_ID="from-a-proxy.1")
        assert "#error from-a-proxy.1] GET /readyz" in daemon.log


def test_a_name_that_is_none_is_not_taken(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        for name in ("", "a b", "x" * 65, "a\tb", "\xe9", 'a"b', "../../x"):
            ours = ask(daemon, "/nowhere", X_Request_ID=name)[1]
            assert ours is not None
            assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", ours)


def test_as_json(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"log": {"format": "json"}, "registry": {"access_log": "yes"}}) as daemon:
        breaking(daemon)
        name = ask(daemon, "/readyz")[1]
    lines = [json.loads(line) for line in daemon.log.splitlines()]
    assert all({"time", "level", "namespace", "message"} <= line.keys() for line in lines)
    (ready,) = [line for line in lines if line["message"].startswith("Ready: ")]
    assert ready["level"] == "info"
    assert ready["fields"]["host"] == daemon.host
    failed, access = [line for line in lines if line.get("request") == name]
    assert (failed["level"], failed["namespace"]) == ("error", "ipfsreg.web.errors")
    assert (access["fields"]["status"], access["fields"]["uri"]) == (503, "/readyz")


def test_levels(tmp_path: Path) -> None:
    levels = {
        "log": {"level": "error, ipfsreg.app=info, log_legacy=info, twisted=info"},
        "registry": {"access_log": "yes"},
    }
    with DaemonProcess(tmp_path, levels) as daemon:
        ask(daemon, "/v2/")
        breaking(daemon)
        ask(daemon, "/readyz")
        assert "Ready: " in daemon.log
        assert "GET /v2/" not in daemon.log
        assert "#error" in daemon.log


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": "loud"}, "[log] level: 'loud' is not one of debug, info, warn, error, critical (it is 'loud')"),
        ({"level": "info, a b=info"}, "[log] level: 'a b' is not a name as the log has it, such as ipfsreg.bucket"),
        ({"format": "xml"}, "[log] format: Input should be 'text' or 'json' (it is 'xml')"),
        ({"access": "/"}, "[log] access: /: Is a directory"),
    ],
)
def test_what_cannot_be(tmp_path: Path, options: dict[str, str], said: str) -> None:
    daemon = DaemonProcess(tmp_path, {"log": options})
    with pytest.raises(RuntimeError, match=r"ended at once"):
        daemon.start()
    assert said in daemon.log
