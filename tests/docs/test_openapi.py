"""docs/openapi.yaml says what there is, and nothing that it allows makes the daemon fail."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import requests
import yaml
from hypothesis import HealthCheck, Phase, given, settings

from tests.daemon_process import DaemonProcess
from tests.full import examples
from tests.web.auth.guarded import guarded, routes_of
from tests.web.served import Serve

FILE = Path(__file__).parents[2] / "docs" / "openapi.yaml"
SCHEMA = yaml.load(FILE.read_text(), yaml.CSafeLoader)
METHODS = ("get", "put", "post", "patch", "delete")
OPERATIONS = [
    (path, method) for path, operations in SCHEMA["paths"].items() for method in METHODS if method in operations
]
EXAMPLES = examples(6, 25)
"""How many requests are made of each operation."""


@pytest_twisted.ensureDeferred
async def test_every_route_is_in_it_and_no_other(serve: Serve, tmp_path: Path) -> None:
    routes = routes_of(await guarded(serve, tmp_path))
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
    options = {"access": {"rules": "allow anyone *,catalog,admin"}, "metrics": {"enabled": "yes"}}
    process = DaemonProcess(directory, options)
    process.start()
    yield process
    process.stop()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_nothing_that_it_allows_makes_the_daemon_fail(daemon: DaemonProcess, path: str, method: str) -> None:
    import schemathesis  # takes long to load, and each of the processes that run tests would

    operation = schemathesis.openapi.from_dict(SCHEMA)[path][method.upper()]
    is_page = "pages" in SCHEMA["paths"][path][method]["tags"]

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
        request = case.as_transport_kwargs(base_url=daemon.url)
        with requests.request(**request, stream=True, allow_redirects=False, timeout=20) as answer:
            assert answer.status_code < 500, case.as_curl_command()
            if answer.status_code < 400:
                return  # that of /events has no end
            if answer.headers["Content-Type"].startswith("text/html"):
                assert is_page
            elif answer.content:
                assert answer.json()["errors"][0]["code"]

    ask()
    assert "Traceback" not in daemon.log
