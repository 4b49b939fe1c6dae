"""How long things took, in the form of a histogram.

Our own and not prometheus_client's, which takes three locks for each observation: here all of it is done in the
reactor. It becomes prometheus_client's when somebody asks.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""The upper ends of the buckets, in seconds."""

Buckets = Sequence[tuple[str, float]]
"""The upper end of each bucket as a text, and how many there were up to that."""


class Durations:
    """``counts`` has how many ended in each bucket, the last of which has no end; ``sum`` is in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


def together(durations: Iterable[Durations]) -> tuple[Buckets, float]:
    """Several as one, as prometheus_client wants it: buckets that add up, and the sum."""
    counts, total = [0] * (len(BOUNDS) + 1), 0.0
    for each in durations:
        counts = [a + b for a, b in zip(counts, each.counts, strict=True)]
        total += each.sum
    buckets, so_far = [], 0
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
        so_far += count
        buckets.append((bound, float(so_far)))
    return buckets, total
