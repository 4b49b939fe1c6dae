"""docs/openapi.yaml says what there is, and nothing that it allows makes the daemon fail."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from twisted.internet import reactor

from ipfsreg.web.app import Gateway, make_routes
from ipfsreg.web.auth.face import AccessControl
from ipfsreg.web.http.forwarded import TrustedProxies
from tests.daemon_process import DaemonProcess
from tests.full import examples
from tests.web.auth.guarded import guarded
from tests.web.served import Serve

FILE = Path(__file__).parents[2] / "docs" / "openapi.yaml"
SCHEMA = yaml.safe_load(FILE.read_text())
METHODS = ("get", "put", "post", "patch", "delete")
OPERATIONS = [
    (path, method) for path, operations in SCHEMA["paths"].items() for method in METHODS if method in operations
]
EXAMPLES = examples(6, 25)
"""How many requests are made of each operation."""


@pytest_twisted.ensureDeferred
async def test_every_route_is_in_it_and_no_other(serve: Serve, tmp_path: Path) -> None:
    daemon = await guarded(serve, tmp_path)
    parts = daemon.served.daemon.parts
    gateway = Gateway(lambda _: True, None, lambda: "", lambda _: True)
    access = AccessControl(daemon.authority, "token", None, TrustedProxies())
    routes = make_routes(parts.registry, parts.workers, reactor, lambda: 0.0, gateway, TrustedProxies(), access)
    there = {
        (re.sub(r"<[^>]*>", "{}", rule.rule), method.lower())
        for rule in routes.application().url_map.iter_rules()
        for method in rule.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    assert {(re.sub(r"{[^}]*}", "{}", path), method) for path, method in OPERATIONS} == there


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One that hands out tokens too, and where everybody may do everything."""
    directory = tmp_path_factory.mktemp("openapi")
    process = DaemonProcess(directory, {"access": {"rules": "allow anyone *,catalog"}})
    process.start()
    yield process
    process.stop()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_nothing_that_it_allows_makes_the_daemon_fail(daemon: DaemonProcess, path: str, method: str) -> None:
    operation = schemathesis.openapi.from_dict(SCHEMA)[path][method.upper()]

    # The same requests each time: what fails is to be seen again.
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        answer = case.call(base_url=daemon.url, timeout=20)
        assert answer.status_code < 500, case.as_curl_command()
        if answer.status_code >= 400 and answer.content:
            assert answer.json()["errors"][0]["code"]

    ask()
    assert "Traceback" not in daemon.log
