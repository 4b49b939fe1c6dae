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
from ipfsreg.web.app import AccessFace, Gateway, NoAccessControl, SiteOptions
from ipfsreg.web.browsers import BrowserRules, host_of
from ipfsreg.web.http.connection_limits import ConnectionBounds
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.limits import HeadBounds, HttpLimits
from ipfsreg.web.pages.pages import PagesOptions
from ipfsreg.web.pages.status import StatusOptions
from ipfsreg.web.site import make_handler, make_site

from .access_config import is_access_controlled
from .background import PeriodicJobs
from .certificates import Certificates
from .configuration import make_backend, retention_policy
from .control.server import ControlServer
from .control.streams import Streams
from .control.tasks import tasks_of
from .daemon import Daemon
from .listening import Listeners
from .parts import Parts
from .peer_id import PeerId
from .preflight import find_problem
from .state_directory import StateDirectory
from .watching import Watching, make_measures, make_tracing, make_watching

if TYPE_CHECKING:
    from ipfsreg.access.authority import Authority

    from .metrics.measures import Measures
    from .tracing.tracing import Tracing

_log = Logger()

SHARE = 0.25
"""The part of one core that the collector and its like may take beside clients, where the bucket is on this disk."""


def assemble(
    config: Config,
    reactor: Any,
    *,
    daemon_seen: float | None = None,
    publish: bool = False,
    passphrase: str = "",
    measures: "Measures | None" = None,
    tracing: "Tracing | None" = None,
) -> Parts:
    """The registry on the backend that is configured; see `Registry` for ``daemon_seen`` and ``publish``.

    ``passphrase`` is that of the member's key, where nothing else says it.
    """
    workers = Workers(reactor, config.registry.threads) if measures is None else measures.workers
    backend = make_backend(config, workers, reactor)
    if measures is not None:
        backend = measures.of(backend)
    if tracing is not None:
        backend = tracing.of(backend)
    share = SHARE if daemon_seen is None else None  # a command alone has nobody beside it
    if config.encryption.enabled:
        from .encryption import encrypt  # not loaded where nothing is encrypted

        backend = encrypt(config, backend, workers, reactor, passphrase)
    visibility = Visibility(config.gateway.private, backend.encrypted, by_asker=is_access_controlled(config))
    by_cid = config.ipfs.pull_by_cid
    registry = Registry(
        backend.bucket,
        config.backend.state_directory,
        Runtime(workers, reactor, now=time.time, share=share),
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
    measures, tracing = make_measures(config, reactor), make_tracing(config, reactor)
    publish = config.ipfs.publish == "always"
    parts = assemble(config, reactor, publish=publish, measures=measures, tracing=tracing)
    if config.pin.service is not None and parts.backend.ipfs.remote_pins is None:
        raise SetupError(
            f"{config.name}: [pin] service: the backend {config.registry.backend} cannot use a pinning service"
        )
    proxies = TrustedProxies(config.registry.trusted_proxies)
    watching = make_watching(config, parts, proxies, measures, tracing, reactor)
    options = _site_options(config, parts, proxies, watching)
    site = make_site(parts.registry, parts.workers, reactor, options, _gateway(config, parts))
    if measures is not None:
        measures.servers.append(site)
    control = make_control(parts, reactor, time.time())
    certificates = Certificates(config.tls) if config.tls.certificate else None
    listeners = Listeners(site, config.registry, config.name, certificates, parts.workers, reactor)
    problem = partial(find_problem, config, parts.backend)
    return Daemon(parts, listeners, control, PeriodicJobs(config, parts, reactor), problem, fail)


def make_control(parts: Parts, reactor: Any, started: float | None = None) -> ControlServer:
    """The socket at which commands reach a registry that is open; ``started`` is when its daemon has."""
    return ControlServer(
        tasks_of(parts.registry, parts.backend, started),
        parts.state.control_socket,
        reactor,
        Streams(parts.registry),
        make_handler(parts.registry, parts.workers, reactor, SiteOptions(read_only=parts.backend.read_only)),
    )


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
        retention=retention_policy(config),
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

    from .access_control import audit_events

    audit_events(parts.registry.events, parts.authority)
    return AccessControl(parts.authority, config.auth.challenge, config.auth.url, proxies)


def _site_options(config: Config, parts: Parts, proxies: TrustedProxies, watching: Watching) -> SiteOptions:
    options = config.registry
    return SiteOptions(
        HttpLimits(
            idle=options.idle_timeout,
            stall=options.stall_timeout,
            body=options.body_timeout,
            head=HeadBounds(config.limits.header_size, config.limits.headers),
        ),
        watching.observers,
        _browsers(config),
        proxies,
        parts.backend.read_only,
        _access(config, parts, proxies),
        ConnectionBounds(config.limits.connections, config.limits.connections_per_address, proxies.is_proxy),
        config.limits.requests,
        _pages(config, parts) if config.pages.enabled else None,
        watching.streams,
        watching.metrics,
        watching.traced,
    )


def _pages(config: Config, parts: Parts) -> PagesOptions:
    backend = parts.backend
    looks = backend.read_only is None and backend.not_read_needlessly is None
    status = StatusOptions(backend.told, config.backend.state_directory, looks_for_garbage=looks)
    return PagesOptions(parts.visibility.shows, config.auth.url, status, backend.may_write)


def _gateway(config: Config, parts: Parts) -> Gateway | None:
    if not config.gateway.enabled:
        return None
    if parts.visibility.nothing:
        _log.info("The bucket is encrypted, so nothing is served by CID.")
        return None
    hosts = _browsers(config).knows_host
    return Gateway(parts.visibility.shows, config.gateway.address, lambda: parts.peer_id.text, hosts)


def _browsers(config: Config) -> BrowserRules:
    hosts = frozenset(config.registry.allowed_hosts)
    if config.auth.url is not None:  # the registry's own name
        hosts |= {host_of(config.auth.url.partition("://")[2].partition("/")[0])}
    return BrowserRules(hosts, frozenset(config.registry.cors_origins))
