"""Whether anybody is there, and whether the storage answers too."""

import pytest
import pytest_twisted

from ipfsreg.registry import readiness
from tests.web.served import Served


@pytest_twisted.ensureDeferred
async def test_a_daemon_that_is_well(registry: Served) -> None:
    for target in ("/", "/livez", "/readyz"):
        answer = await registry.ask("GET", target)
        assert (answer.status, answer["content-type"]) == (200, "text/plain; charset=utf-8")
        head = await registry.ask("HEAD", target)
        assert (head.status, head.content) == (200, b"")
    assert b"/v2/" in (await registry.ask("GET", "/")).content
    assert (await registry.ask("POST", "/readyz", None, b"")).error == (405, "UNSUPPORTED")


@pytest_twisted.ensureDeferred
async def test_a_daemon_whose_storage_is_gone(registry: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "REMEMBERED_SECONDS", 0)
    assert (await registry.ask("GET", "/readyz")).status == 200
    bucket = registry.store / "bucket"
    bucket.rename(registry.store / "elsewhere")
    answer = await registry.ask("GET", "/readyz")
    assert answer.error == (503, "UNAVAILABLE")
    assert int(answer["retry-after"]) > 0
    assert (await registry.ask("GET", "/livez")).status == 200
    (registry.store / "elsewhere").rename(bucket)
    assert (await registry.ask("GET", "/readyz")).status == 200
