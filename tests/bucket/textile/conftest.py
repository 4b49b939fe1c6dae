"""What all tests of the Textile backend share."""

import pytest
from twisted.application.internet import backoffPolicy

from ipfsreg.bucket import breaker
from ipfsreg.flow import retry


@pytest.fixture(autouse=True)
def _short_pauses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that came back is noticed at once, unless the test is marked with ``real_pauses``."""
    if request.node.get_closest_marker("real_pauses") is None:
        monkeypatch.setattr(breaker, "_pause", backoffPolicy(0.02, breaker.LONGEST_PAUSE, jitter=lambda: 0.0))
        monkeypatch.setattr(retry, "FIRST_PAUSE", 0.02)
