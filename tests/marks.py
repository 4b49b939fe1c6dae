"""Marks of tests that do not all run in a plain `make test`: `make test FULL=1` runs them, and so does `.ci/run`."""

import pytest

from .full import FULL, REASON

full = pytest.mark.skipif(not FULL, reason=REASON)
"""For tests that run at full length only."""

SAMPLED = "sampled"


def sampled(*names: str) -> pytest.MarkDecorator:
    """For a class of tests that others like it run too: of its tests only those named run in a plain `make test`."""
    return pytest.mark.sampled(*names)


def skip_what_is_not_sampled(items: list[pytest.Item]) -> None:
    """What `sampled` promises, once the tests are collected."""
    for item in items:
        mark = item.get_closest_marker(SAMPLED)
        if mark is not None and not FULL and getattr(item, "originalname", item.name) not in mark.args:
            item.add_marker(pytest.mark.skip(reason=REASON))
