"""Disks on which registries are tried: one that is small, and one that fails. Only root can have them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .registries import CHECKOUT, RegistryError

FULL_DISK = 48 * 1024 * 1024
"""How much a small disk holds, in bytes."""


@contextmanager
def failing_disk(source: Path, mounted: Path, rate: Path) -> Iterator[Path]:
    """A directory as a disk that fails as often as a file says: see `bench.failing_disk`."""
    source.mkdir()
    mounted.mkdir()
    command = [sys.executable, "-m", "bench.failing_disk", str(source), str(mounted), str(rate)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while not os.path.ismount(mounted):
            if process.poll() is not None or time.monotonic() > until:
                raise RegistryError("no file system in user space can be mounted here")
            time.sleep(0.02)
        yield mounted
    finally:
        if os.path.ismount(mounted):
            subprocess.run(["umount", "-l", str(mounted)], check=True)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """A file system of `FULL_DISK` bytes in memory; only root can have one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={FULL_DISK}", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode:
        raise RegistryError("no file system can be mounted here; only root can")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)
