"""Whether tests run at their full length: ``IPFSREG_FULL_TESTS=1`` in the environment, as `.ci/run` has it."""

import os

FULL = os.environ.get("IPFSREG_FULL_TESTS") == "1"
