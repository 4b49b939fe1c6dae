"""How long the tests on real servers take: minutes with ``IPFSREG_TEXTILE_SOAK=1`` in the environment, else seconds."""

import os

SOAK = os.environ.get("IPFSREG_TEXTILE_SOAK") == "1"
