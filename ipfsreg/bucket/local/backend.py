"""How the ``local`` backend is made from its section of the configuration."""

from typing import Any

from ...workers import Workers
from ..opened import Opened
from ..options import PathOptions
from .bucket import LocalBucket


def open_local(options: PathOptions, workers: Workers, reactor: Any) -> Opened:
    """The bucket in the directory that ``path`` names."""
    return Opened(LocalBucket(options.path, workers))
