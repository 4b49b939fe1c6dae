"""Marks of tests."""

import pytest

from .full import FULL

full = pytest.mark.skipif(not FULL, reason="IPFSREG_FULL_TESTS is not set")
"""For tests that run at full length only."""
