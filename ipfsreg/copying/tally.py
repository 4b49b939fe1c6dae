"""What a copy has done, and how far it is."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

NAMED_MAX = 1000
"""So many images that could not be copied are named; the others are counted."""


@dataclass(slots=True)
class Tally:
    """Counts. ``moved`` is called with the number of bytes of each piece, ``expected`` with those that will come."""

    moved: Callable[[int], None] = lambda amount: None
    expected: Callable[[int], None] = lambda amount: None
    repositories: int = 0
    images: int = 0
    """Tags, and images that have none."""
    images_there: int = 0
    """Of these, those that were at the destination already."""
    manifests: int = 0
    blobs: int = 0
    bytes: int = 0
    blobs_there: int = 0
    bytes_there: int = 0
    mounted: int = 0
    missing: int = 0
    """Manifests that an index lists and that the source does not have."""
    views_refused: int = 0
    """IPFS-enabled views of images, whose URLs the destination does not take. They can be made of the images anew."""
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)

    def fail(self, name: str, error: object) -> None:
        """An image, or a whole repository, could not be copied."""
        self.failed += 1
        if len(self.failures) < NAMED_MAX:
            self.failures.append({"name": name, "error": str(error)})

    @property
    def document(self) -> dict[str, Any]:
        """As `--json` shows it."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("moved", "expected")}
