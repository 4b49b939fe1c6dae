"""What this machine can do by itself, measured in the same run: the floor below any registry's figures."""

import hashlib
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Written:
    """Seconds that writing a file took, and that the fsync after it took."""

    write: float
    fsync: float


def write_and_sync(directory: Path, source: Path, size: int) -> Written:
    """Copy ``size`` bytes of ``source`` (best in the page cache) to a new file, fsync it, and remove it."""
    target = directory / "disk-speed"
    with source.open("rb", buffering=0) as read, target.open("xb", buffering=0) as written:
        started = time.perf_counter()
        left = size
        while left:
            chunk = read.read(min(_BLOCK, left))
            written.write(chunk)
            left -= len(chunk)
        middle = time.perf_counter()
        os.fsync(written.fileno())
        ended = time.perf_counter()
    target.unlink()
    return Written(middle - started, ended - middle)


def small_sync(directory: Path, count: int) -> float:
    """The mean seconds to create a small file durably: write, fsync, rename, fsync of the directory."""
    home = directory / "small-sync"
    home.mkdir()
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    started = time.perf_counter()
    for number in range(count):
        draft = home / "draft"
        with draft.open("xb", buffering=0) as file:
            file.write(b"x" * 500)
            os.fsync(file.fileno())
        draft.rename(home / str(number))
        os.fsync(descriptor)
    took = time.perf_counter() - started
    os.close(descriptor)
    for each in home.iterdir():
        each.unlink()
    home.rmdir()
    return took / count


def sha256_seconds(size: int) -> float:
    """The time in seconds that SHA-256 of so many bytes takes on one core."""
    block = os.urandom(_BLOCK)
    digest = hashlib.sha256()
    started = time.perf_counter()
    for _ in range(size // _BLOCK):
        digest.update(block)
    return time.perf_counter() - started


def reclaim_memory(directory: Path, size: int) -> None:
    """Have memory for ``size`` bytes that is really there, by filling as much page cache and emptying it.

    In a virtual machine that gives free memory back to its host, the first use of each page costs more than all
    that a registry does with it (2.5 s for a GiB were seen), and whoever runs first or keeps more pays for it.
    """
    target = directory / "reclaimed"
    block = bytes(_BLOCK)
    with target.open("xb", buffering=0) as file:
        target.unlink()
        for _ in range(size // _BLOCK + size // _BLOCK // 16 + 1):
            file.write(block)


def drop_from_cache(directory: Path) -> None:
    """Write back everything, then have the page cache forget the files below ``directory``."""
    os.sync()
    for parent, _, names in os.walk(directory):
        for path in (Path(parent, name) for name in names):
            if not path.is_file():  # a socket of the daemon's, say
                continue
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def describe(directory: Path) -> dict[str, str]:
    """Processor, memory, system and file system, as short texts."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    partitions = [each for each in psutil.disk_partitions(all=True) if directory.is_relative_to(each.mountpoint)]
    file_system = max(partitions, key=lambda each: len(each.mountpoint)).fstype if partitions else "unknown"
    return {
        "processor": f"{psutil.cpu_count()} x {model}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "file system": file_system,
        "load before": " ".join(f"{each:.2f}" for each in os.getloadavg()),
    }
