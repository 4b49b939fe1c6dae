"""The configuration of this program, which has the sections of all backends, and the backend that it names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipfsreg.bucket.backends import BACKENDS
from ipfsreg.bucket.opened import Opened
from ipfsreg.config.file import read_config
from ipfsreg.config.sections import Config
from ipfsreg.flow.workers import Workers

from .access_config import check_access


def load_config(
    path: Path | None, reactor: Any, environment: Mapping[str, str] = os.environ, *, for_daemon: bool = True
) -> Config:
    """Read a configuration file with the sections of all backends; see `read_config`."""
    backends = {name: backend.options for name, backend in BACKENDS.items()}
    config = read_config(path, backends, reactor, environment, for_daemon=for_daemon)
    check_access(config)
    if config.retention.rules or config.retention.immutable:
        from .retention_config import retention_policy  # not loaded where nothing is to be read

        retention_policy(config)
    return config


def make_backend(config: Config, workers: Workers, reactor: Any) -> Opened:
    """The backend that is configured, not open yet."""
    return BACKENDS[config.registry.backend].make(config.backend, workers, reactor)
