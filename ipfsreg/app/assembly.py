"""Where the program is put together as a configuration says: the daemon, and a registry for a command alone."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.sections import Config
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.content.quotas import QuotaLimits
from ipfsreg.registry.registry import OnIpfs, Registry, RegistryLimits
from ipfsreg.registry.runtime import Runtime
from ipfsreg.registry.visibility import Visibility
from ipfsreg.web.app import AccessFace, Gateway, NoAccessControl
from ipfsreg.web.browsers import BrowserRules
from ipfsreg.web.http.connection_limits import ConnectionBounds
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.limits import HeadBounds, HttpLimits
from ipfsreg.web.site import SiteOptions, make_site

from .access_config import is_access_controlled
from .background import PeriodicJobs
from .certificates import Certificates
from .configuration import make_backend
from .control.server import ControlServer
from .control.streams import Streams
from .control.tasks import tasks_of
from .daemon import Daemon
from .listening import Listeners
from .parts import Parts
from .peer_id import PeerId
from .preflight import find_problem
from .state_directory import StateDirectory

if TYPE_CHECKING:
    from ipfsreg.access.authority import Authority

_log = Logger()


def assemble(config: Config, reactor: Any, *, daemon_seen: float | None = None, publish: bool = False) -> Parts:
    """The registry on the backend that is configured; see `Registry` for ``daemon_seen`` and ``publish``."""
    workers = Workers(reactor, config.registry.threads)
    backend = make_backend(config, workers, reactor)
    visibility = Visibility(config.gateway.private, backend.encrypted, by_asker=is_access_controlled(config))
    by_cid = config.ipfs.pull_by_cid
    registry = Registry(
        backend.bucket,
        config.backend.state_directory,
        Runtime(workers, reactor, now=time.time),
        _limits(config),
        OnIpfs(backend.ipfs, by_cid != "never", by_cid == "network", visibility, publish),
        daemon_seen=daemon_seen,
    )
    state = StateDirectory.of(config.backend)
    authority = _authority(config, workers, reactor)
    return Parts(state, workers, backend, visibility, registry, PeerId(state.path / "peer-id"), authority)


def make_daemon(config: Config, reactor: Any, fail: Callable[[str], None]) -> Daemon:
    """The daemon for a configuration; ``fail`` is called with one line where it cannot start.

    :raises SetupError: for a configuration that asks for what the backend cannot do.
    """
    parts = assemble(config, reactor, publish=config.ipfs.publish == "always")
    if config.pin.service is not None and parts.backend.ipfs.remote_pins is None:
        raise SetupError(
            f"{config.name}: [pin] service: the backend {config.registry.backend} cannot use a pinning service"
        )
    site = make_site(parts.registry, parts.workers, reactor, _site_options(config, parts), _gateway(config, parts))
    control = ControlServer(
        tasks_of(parts.registry, parts.backend),
        parts.state.control_socket,
        reactor,
        Streams(parts.registry),
    )
    certificates = Certificates(config.tls) if config.tls.certificate else None
    listeners = Listeners(site, config.registry, config.name, certificates, parts.workers, reactor)
    problem = partial(find_problem, config, parts.backend)
    return Daemon(parts, listeners, control, PeriodicJobs(config, parts, reactor), problem, fail)


def _limits(config: Config) -> RegistryLimits:
    return RegistryLimits(
        cache_memory=config.registry.cache_memory,
        max_manifest_size=config.registry.max_manifest_size,
        max_blob_size=config.registry.max_blob_size,
        max_uploads=config.uploads.maximum,
        max_uploads_of_client=config.uploads.per_client,
        max_uploads_of_user=config.limits.uploads_per_user,
        max_unfinished_of_user=config.limits.unfinished_size_per_user,
        max_tags_at_once=config.limits.tags,
        upload_expiry=config.uploads.expiry,
        gc_grace=config.gc.grace,
        gc_untagged=config.gc.untagged,
        scrub_rate=config.scrub.rate,
        quotas=QuotaLimits(config.limits.repository_size, config.limits.total_size),
    )


def _authority(config: Config, workers: Workers, reactor: Any) -> "Authority | None":
    if not is_access_controlled(config):
        return None
    # Not loaded where there is no access control: a start takes longer with it.
    from .access_control import make_authority
    from .fetching import Fetcher

    return make_authority(config, workers, reactor, Fetcher(reactor))


def _access(config: Config, parts: Parts, proxies: TrustedProxies) -> AccessFace:
    if parts.authority is None:
        return NoAccessControl()
    from ipfsreg.web.auth.face import AccessControl

    return AccessControl(parts.authority, config.auth.challenge, config.auth.url, proxies)


def _site_options(config: Config, parts: Parts) -> SiteOptions:
    options, proxies = config.registry, TrustedProxies(config.registry.trusted_proxies)
    return SiteOptions(
        HttpLimits(
            idle=options.idle_timeout,
            stall=options.stall_timeout,
            body=options.body_timeout,
            head=HeadBounds(config.limits.header_size, config.limits.headers),
        ),
        options.access_log,
        _browsers(config),
        proxies,
        parts.backend.read_only,
        _access(config, parts, proxies),
        ConnectionBounds(config.limits.connections, config.limits.connections_per_address, proxies.is_proxy),
        config.limits.requests,
    )


def _gateway(config: Config, parts: Parts) -> Gateway | None:
    if not config.gateway.enabled:
        return None
    if parts.visibility.nothing:
        _log.info("The bucket is encrypted, so nothing is served by CID.")
        return None
    hosts = _browsers(config).knows_host
    return Gateway(parts.visibility.shows, config.gateway.address, lambda: parts.peer_id.text, hosts)


def _browsers(config: Config) -> BrowserRules:
    return BrowserRules(frozenset(config.registry.allowed_hosts), frozenset(config.registry.cors_origins))
