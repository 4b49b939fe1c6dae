"""A registry put together as a configuration says: for the daemon, and for a command that works alone."""

from typing import Any

from ipfsreg.bucket.opened import Opened
from ipfsreg.config.file import Config
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.names import Repository
from ipfsreg.registry.registry import Registry


def make_registry(
    config: Config, backend: Opened, workers: Workers, reactor: Any, *, daemon_seen: float | None = None
) -> Registry:
    """The registry over an opened backend; see `Registry` for ``daemon_seen``."""
    by_cid = config.ipfs.pull_by_cid

    def hidden(repository: Repository) -> bool:
        return backend.is_encrypted() or not config.gateway.allows(repository)

    return Registry(
        backend.bucket,
        config.backend.state_directory,
        workers,
        reactor,
        config.limits,
        daemon_seen=daemon_seen,
        ahead=backend.ahead,
        teller=backend.teller,
        node=backend.content_by_cid if by_cid == "network" else None,
        on_node=backend.content_by_cid is not None,
        pull_by_cid=by_cid != "never",
        # Where it is not known yet whether the bucket is encrypted, `hidden` asks again each time.
        hidden=None if backend.encrypted() is False and not config.gateway.private else hidden,
    )
