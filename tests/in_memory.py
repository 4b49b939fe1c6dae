"""The directories of tests in memory, where there is room for them: half of what a daemon's start takes is the disk's.

With all of the suite at full length, and on CI, they are on the disk, as a registry's are.
"""

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
NEEDED = 2 * 1024**3
"""Bytes. A container often has 64 MiB there."""

VARIABLE = "PYTEST_DEBUG_TEMPROOT"


def use() -> None:
    """Have pytest make them there; ``--basetemp`` still says where else."""
    if VARIABLE not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= NEEDED:
        os.environ[VARIABLE] = str(MEMORY)
