"""What a plain run of the tests leaves out, CI does not."""

import re
from pathlib import Path

from .full import FULL, REASON
from .marks import full, sampled

CHECKOUT = Path(__file__).resolve().parents[1]


@full
def test_at_full_length_only() -> None:
    assert FULL


@sampled("test_that_is_kept")
class TestSampled:
    def test_that_is_kept(self) -> None:
        pass

    def test_that_is_not(self) -> None:
        assert FULL


def test_ci_runs_everything_and_a_missing_program_fails_there() -> None:
    (exported,) = re.findall(r"^export (.*)$", (CHECKOUT / ".ci" / "run").read_text(), re.MULTILINE)
    assert {"IPFSREG_REQUIRE_PROGRAMS=1", "IPFSREG_FULL_TESTS=1"} <= set(exported.split())


def test_the_reason_says_how_to_run_it() -> None:
    assert REASON.endswith("make test FULL=1")
    assert "$(if $(FULL),IPFSREG_FULL_TESTS=1)" in (CHECKOUT / "Makefile").read_text()
