"""What a client sees beside other work: pulls of manifests on one connection, one after the other."""

import http.client
import itertools
import threading
import time
from array import array
from collections.abc import Sequence
from types import TracebackType

from bench.images import MANIFEST

PAUSE = 0.005
"""Seconds between two pulls."""


class Pulls:
    """A context manager that pulls while the block runs; then ``latencies`` are in milliseconds."""

    def __init__(self, port: int, paths: Sequence[str]) -> None:
        self.latencies = array("d")
        self._port = port
        self._paths = paths
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._pull, name="pulls")

    def percentile(self, part: float) -> float:
        """The latency under which that part of the pulls stayed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    def _pull(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        for path in itertools.cycle(self._paths):
            if self._over.wait(PAUSE) and len(self.latencies) > 10:
                break
            began = time.perf_counter()
            connection.request("GET", path, headers={"Accept": MANIFEST})
            connection.getresponse().read()
            self.latencies.append((time.perf_counter() - began) * 1000)
        connection.close()

    def __enter__(self) -> "Pulls":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
