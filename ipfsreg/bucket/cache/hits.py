"""How often a cache had what was asked for."""

from dataclasses import dataclass


@dataclass(slots=True)
class Hits:
    """Counted since the start."""

    hits: int = 0
    misses: int = 0
