"""What an image's configuration says (image-spec, "OCI Image Configuration"), as far as people are shown it.

All of it was written by others: what is not as it should be is left out.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

IMAGE_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
"""The media types of configurations of images that can be run."""

_TIME_MAX = 64


class Step(NamedTuple):
    """A step of a history, as it is written; None is what is missing, or is no text or no time."""

    created: str | None
    created_by: str | None
    comment: str | None
    empty_layer: bool


def steps_of(config: Mapping[str, Any], most: int) -> Iterator[Step]:
    """The first steps of a configuration's history."""
    history = config.get("history")
    for value in islice(history if isinstance(history, list) else (), most):
        step = value if isinstance(value, dict) else {}
        yield Step(
            time_text(step.get("created")),
            _text(step.get("created_by")),
            _text(step.get("comment")),
            step.get("empty_layer") is True,
        )


def platform_of(value: Any) -> tuple[str, ...]:
    """``os``, ``architecture`` and ``variant`` of a descriptor's platform or a configuration: those that are there."""
    if not isinstance(value, Mapping):
        return ()
    parts = (value.get(name) for name in ("os", "architecture", "variant"))
    return tuple(each for each in parts if isinstance(each, str) and each)


def time_text(value: Any) -> str | None:
    """A time of ISO 8601 as it was written, or None for anything else."""
    if not isinstance(value, str) or len(value) > _TIME_MAX:
        return None
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return None
    return value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
