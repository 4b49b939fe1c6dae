"""How large and how often: the full measurement, and the small one that only shows that everything works."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True)
class Scale:
    """Sizes in bytes, durations in seconds; a round measures every registry once."""

    layer: int
    """The one layer that is pushed and pulled alone."""
    small_layer: int
    """Each of the layers that travel at the same time."""
    memory_layer: int
    """Each of the layers that travel at the same time while memory is watched."""
    transfer_rounds: int
    memory_rounds: int
    load_seconds: float
    load_rounds: int
    images: int
    """How many different manifests the load goes round."""
    start_rounds: int
    listed: int
    """How many tags in one repository, and how many repositories."""
    listing_rounds: int

    def size(self, length: int) -> str:
        """A length as a reader says it, like ``128 MiB``."""
        for factor, unit in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
            if length >= factor:
                return f"{length / factor:g} {unit}"
        return f"{length} B"


FULL = Scale(
    layer=GIB,
    small_layer=128 * MIB,
    memory_layer=GIB,
    transfer_rounds=5,
    memory_rounds=3,
    load_seconds=5.0,
    load_rounds=5,
    images=64,
    start_rounds=7,
    listed=10_000,
    listing_rounds=3,
)

QUICK = Scale(
    layer=8 * MIB,
    small_layer=MIB,
    memory_layer=8 * MIB,
    transfer_rounds=1,
    memory_rounds=1,
    load_seconds=0.1,
    load_rounds=1,
    images=8,
    start_rounds=1,
    listed=250,
    listing_rounds=1,
)

AT_ONCE = 8
"""How many transfers run at the same time where several do."""

CONNECTIONS = 16
"""How many keep-alive connections the load uses."""

HOSTILE = 64
"""How many clients push long manifests at the same time."""

PAGE = 100
"""The ``n`` of a listing in pages."""
