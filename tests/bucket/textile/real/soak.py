"""How long the tests on real servers take: minutes with ``IPFSREG_TEXTILE_SOAK=1`` in the environment, else seconds."""

import os

import pytest

SOAK = os.environ.get("IPFSREG_TEXTILE_SOAK") == "1"

soak = pytest.mark.skipif(not SOAK, reason="it takes minutes; IPFSREG_TEXTILE_SOAK=1 runs it")
