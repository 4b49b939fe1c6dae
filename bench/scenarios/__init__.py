"""The scenarios by the names that ``--only`` takes; each gets the lab and returns its figures."""

from collections.abc import Callable

from ..figures import Figure
from ..lab import Lab
from . import access, encrypted, hostile, layers, listing, manifests, memory, requests, start

SCENARIOS: dict[str, Callable[[Lab], list[Figure]]] = {
    "start": start.measure,
    "layer": layers.measure_one,
    "layers": layers.measure_several,
    "requests": requests.measure,
    "manifests": manifests.measure,
    "memory": memory.measure,
    "listing": listing.measure,
    "hostile": hostile.measure,
    "access": access.measure,
    "encrypted": encrypted.measure,
}
