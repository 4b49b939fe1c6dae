"""What looks on while clients are served, as a configuration says: logs, webhooks, metrics.

What it asks for is loaded here, and nothing of the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from socket import gethostname
from typing import TYPE_CHECKING, Any

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.sections import Config
from ipfsreg.registry.events.event import EventAction
from ipfsreg.registry.events.events import CHANGES
from ipfsreg.registry.events.recent import RecentEvents
from ipfsreg.web.event_stream import EventStreams
from ipfsreg.web.http.access_log import AccessLog
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request
from ipfsreg.web.http.server import Handler
from ipfsreg.web.probes import MetricsText
from ipfsreg.web.site import LOGGED_PARAMETERS

from .access_file import AccessFile
from .parts import Parts
from .preflight import tracing_problem

if TYPE_CHECKING:
    from .metrics.measures import Measures
    from .tracing.tracing import Tracing
    from .webhooks.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Watching:
    """What a site has to know of it. ``metrics`` is None where clients cannot have them from the site.

    ``traced`` makes a handler whose requests are traced; None is that none is.
    """

    observers: tuple[Callable[[Request], None], ...]
    streams: EventStreams | None
    metrics: MetricsText | None
    traced: Callable[[Handler], Handler] | None


def make_measures(config: Config, reactor: Any) -> "Measures | None":
    """What measures the parts of the daemon, or None where nobody wants to know."""
    if not config.metrics.are_wanted:
        return None
    from .metrics.measures import Measures

    return Measures(config.registry.backend, reactor, config.registry.threads)


def make_tracing(config: Config, reactor: Any) -> "Tracing | None":
    """What traces requests, or None where nobody wants to know. :raises SetupError: where it is not installed."""
    if config.tracing.endpoint is None:
        return None
    problem = tracing_problem()
    if problem is not None:
        raise SetupError(f"{config.name}: {problem}")
    from .tracing.tracing import Tracing

    return Tracing(config.tracing, reactor)


def make_watching(
    config: Config,
    parts: Parts,
    proxies: TrustedProxies,
    measures: "Measures | None",
    tracing: "Tracing | None",
    reactor: Any,
) -> Watching:
    """Make it, and give the watchers to ``parts``, which start and stop them."""
    observers: list[Callable[[Request], None]] = []
    if config.log.access is not None:
        file = AccessFile(config.log.access, parts.workers, reactor)
        parts.watchers.append(file)
        observers.append(AccessLog(proxies, LOGGED_PARAMETERS, file.add).answered)
    if config.registry.access_log:
        observers.append(AccessLog(proxies, LOGGED_PARAMETERS).answered)
    webhooks = _make_webhooks(config, parts, reactor) if config.webhooks.endpoints else None
    metrics = None
    if measures is not None:
        observers.append(measures.requests.answered)
        metrics = _expose(measures, config, parts, webhooks, reactor)
    if tracing is not None:
        parts.watchers.append(tracing)
    traced = None if tracing is None else tracing.requests
    return Watching(tuple(observers), _make_streams(config, parts, webhooks), metrics, traced)


def _make_streams(config: Config, parts: Parts, webhooks: "Webhooks | None") -> EventStreams | None:
    if not config.events.clients:
        return None
    history = RecentEvents(parts.registry.events, CHANGES) if webhooks is None else webhooks.log
    return EventStreams(config.events.clients, history)


def _make_webhooks(config: Config, parts: Parts, reactor: Any) -> "Webhooks":
    from ipfsreg.registry.events.event_log import EventLog

    from .webhooks.event_logging import EventLogging
    from .webhooks.webhooks import Webhooks

    # A pull of which nobody wants to know costs nothing. Changes are wanted by who comes back to `/events`.
    wanted = CHANGES | {
        action for action in EventAction if any(action.value not in each.ignored for each in config.webhooks.endpoints)
    }
    readers = [endpoint.name for endpoint in config.webhooks.endpoints]
    # Beside a bucket that is encrypted by us nothing is on this disk that tells what is in it.
    file = None if config.encryption.enabled else parts.state.path / "events.sqlite"
    log = EventLog(file, readers, config.webhooks.queue, parts.workers, reactor, gethostname())
    webhooks = Webhooks(config.webhooks, log, parts.workers, reactor)
    parts.watchers.extend((EventLogging(log, parts.registry.events, wanted), webhooks))
    return webhooks


def _expose(
    measures: "Measures", config: Config, parts: Parts, webhooks: "Webhooks | None", reactor: Any
) -> MetricsText | None:
    from .metrics.exposition import Exposition
    from .metrics.listener import MetricsListener

    events = None if webhooks is None else webhooks.counts
    exposition = Exposition(measures, parts.registry, parts.state.path, events)
    parts.watchers.append(measures)
    if not config.metrics.listen:
        return exposition.text
    parts.watchers.append(MetricsListener(config.metrics.listen, exposition.text, reactor))
    return None
