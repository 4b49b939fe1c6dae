"""Whether tests run at their full length: `make test FULL=1`, or ``IPFSREG_FULL_TESTS=1`` as `.ci/run` has it."""

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("IPFSREG_FULL_TESTS") == "1"
REASON = "full suite only: make test FULL=1"
"""Why a test is skipped where it does not."""


def examples(few: int, many: int) -> int:
    """How many examples hypothesis tries: ``many`` at full length, else ``few``."""
    return many if FULL else few


def some(few: int, cases: Sequence[T]) -> Sequence[T]:
    """All the cases of a test at full length, else a ``few`` of them, from all over the list."""
    return cases if FULL else [cases[number * len(cases) // few] for number in range(few)]
