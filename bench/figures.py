"""What was measured: samples of each registry, their medians, and how they compare."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Aim:
    """What this project wants of a figure: a ratio to the first peer, or to ``to``; or a value in the figure's unit."""

    ratio: float | None = None
    value: float | None = None
    to: str | None = None


@dataclass
class Figure:
    """One line of the table: the samples by registry name, in ``unit``."""

    name: str
    unit: str
    higher_is_better: bool
    aim: Aim = field(default_factory=Aim)
    samples: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""

    def add(self, registry: str, value: float) -> None:
        """Keep one sample."""
        self.samples.setdefault(registry, []).append(value)

    def median(self, registry: str) -> float | None:
        """The median of that registry's samples; None where it has none."""
        samples = self.samples.get(registry)
        return statistics.median(samples) if samples else None

    def ratio(self, ours: str, other: str) -> float | None:
        """How many times better the median of ``ours`` is; None where one of the two is not positive."""
        mine, theirs = self.median(ours), self.median(other)
        if mine is None or theirs is None or mine <= 0 or theirs <= 0:
            return None
        return mine / theirs if self.higher_is_better else theirs / mine

    def reached(self, ours: str, others: Sequence[str]) -> bool | None:
        """Whether the aim is reached; None where there is none, or nothing to judge it by."""
        other = self.aim.to or (others[0] if others else None)
        mine = self.median(ours)
        if self.aim.value is not None and mine is not None:
            return mine >= self.aim.value if self.higher_is_better else mine <= self.aim.value
        if self.aim.ratio is not None and other is not None:
            ratio = self.ratio(ours, other)
            return None if ratio is None else ratio >= self.aim.ratio
        return None

    def as_json(self) -> dict[str, Any]:
        """All of it, for a machine to read."""
        return {
            "name": self.name,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "aim": asdict(self.aim),
            "samples": self.samples,
            "medians": {registry: self.median(registry) for registry in self.samples},
            "note": self.note,
        }
