"""The configuration of this program, which has the sections of all backends, and the backend that it names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipfsreg.bucket.backends import BACKENDS
from ipfsreg.bucket.opened import Opened
from ipfsreg.config.errors import ConfigError
from ipfsreg.config.file import read_config
from ipfsreg.config.sections import Config
from ipfsreg.flow.workers import Workers

from .access_config import check_access

if TYPE_CHECKING:
    from ipfsreg.registry.upkeep.tag_rules import RetentionPolicy


def load_config(
    path: Path | None, reactor: Any, environment: Mapping[str, str] = os.environ, *, for_daemon: bool = True
) -> Config:
    """Read a configuration file with the sections of all backends; see `read_config`."""
    backends = {name: backend.options for name, backend in BACKENDS.items()}
    config = read_config(path, backends, reactor, environment, for_daemon=for_daemon)
    check_access(config)
    if config.retention.rules or config.retention.immutable:
        retention_policy(config)
    return config


def retention_policy(config: Config) -> "RetentionPolicy":
    """The rules of ``[retention]``.

    :raises ConfigError: with one line, where they cannot be read.
    """
    # Not loaded with the configuration, which mostly has none.
    from ipfsreg.registry.repository.immutable import ImmutableTags
    from ipfsreg.registry.upkeep.tag_rules import RetentionPolicy, parse_tag_rules

    options, option = config.retention, "rules"
    try:
        rules = parse_tag_rules(options.rules or "")
        option = "immutable"
        immutable = ImmutableTags.parse(options.immutable)
    except ValueError as error:
        raise ConfigError(f"{config.name}: [retention] {option}: {error}") from None
    return RetentionPolicy(rules, immutable, options.pulls or rules.need_pulls)


def make_backend(config: Config, workers: Workers, reactor: Any) -> Opened:
    """The backend that is configured, not open yet."""
    return BACKENDS[config.registry.backend].make(config.backend, workers, reactor)
