"""How the ``local`` backend is made from its section of the configuration."""

from typing import Any

from ipfsreg.bucket.opened import Opened
from ipfsreg.config.backend_options import PathOptions
from ipfsreg.flow.workers import Workers

from .bucket import LocalBucket


def open_local(options: PathOptions, workers: Workers, reactor: Any) -> Opened:
    """The bucket in the directory that ``path`` names."""
    bucket = LocalBucket(options.path, workers)
    return Opened(bucket, existing=bucket.existing, problem=bucket.problem)
