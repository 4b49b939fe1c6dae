"""The memory of a daemon's processes, sampled while something runs."""

import threading
import time
from pathlib import Path
from types import TracebackType

import psutil

from .registries import Running

_INTERVAL = 0.02
_IDLE_SAMPLES = 25


def proportional_bytes(daemon: Running) -> int:
    """The proportional set size (PSS) of the daemon and its children, in bytes, added up."""
    total = 0
    for process in daemon.processes():
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def peak_resident_bytes(daemon: Running) -> int:
    """The kernel's own record of the most resident memory (VmHWM), in bytes, of each process, added up."""
    total = 0
    for process in daemon.processes():
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace")
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024
    return total


def idle_bytes(daemon: Running) -> int:
    """The most PSS seen in half a second during which nobody asks the daemon anything."""
    most = 0
    for _ in range(_IDLE_SAMPLES):
        most = max(most, proportional_bytes(daemon))
        time.sleep(_INTERVAL)
    return most


class PeakMemory:
    """A context manager that samples the daemon's PSS; ``peak`` is the most that was seen, in bytes."""

    def __init__(self, daemon: Running) -> None:
        self.peak = 0
        self._daemon = daemon
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory")

    def _watch(self) -> None:
        while not self._over.is_set():
            try:
                self.peak = max(self.peak, proportional_bytes(self._daemon))
            except psutil.NoSuchProcess:  # the daemon has died: whoever uses it will find out and say so
                return
            self._over.wait(_INTERVAL)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
