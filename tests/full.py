"""Whether tests run at their full length: ``IPFSREG_FULL_TESTS=1`` in the environment, as `.ci/run` has it."""

import os

FULL = os.environ.get("IPFSREG_FULL_TESTS") == "1"


def examples(few: int, many: int) -> int:
    """How many examples hypothesis tries: ``many`` at full length, else ``few``."""
    return many if FULL else few
