"""How the ``local`` backend is made from its section of the configuration."""

from typing import Any

from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.opened import Opened
from ipfsreg.config.backend_options import PathOptions
from ipfsreg.flow.workers import Workers

from .bucket import LocalBucket


class LocalOptions(PathOptions):
    """The section ``[local]``."""

    verify_reads: bool = False


def open_local(options: LocalOptions, workers: Workers, reactor: Any) -> Opened:
    """The bucket in the directory that ``path`` names."""
    bucket = LocalBucket(options.path, workers)
    can = Capabilities(list_top=bucket.list_top, verify_reads=options.verify_reads, late_dags=True)
    return Opened(bucket, existing=bucket.existing, problem=bucket.problem, ipfs=can)
