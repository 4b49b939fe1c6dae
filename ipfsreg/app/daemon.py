"""The daemon's life: open, listen, look after itself, and end without losing anything."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.bucket.backends import BACKENDS
from ipfsreg.bucket.errors import BucketError, SetupError
from ipfsreg.config.file import Config
from ipfsreg.flow.periodic import Periodic
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.ipfs.publish_queue import PublishQueue
from ipfsreg.web.app import Gateway
from ipfsreg.web.http.connection import Limits
from ipfsreg.web.site import make_site

from .assembly import make_registry
from .control.server import ControlServer
from .control.streams import Streams
from .control.tasks import tasks_of
from .heap import keep_freed_pieces
from .listening import stop_listening
from .notify import notify
from .peer_id import load_peer_id
from .state_directory import StateDirectory

_EXPIRE_EVERY = 600.0
_CIDS_EVERY = 60.0
_SEEN_EVERY = 60.0


class Daemon(Service):
    """The registry as a service.

    ``fail`` is called with one line where it cannot start.
    """

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, fail: Callable[[str], None]) -> None:
        self._config = config
        self._reactor = reactor
        self._fail = fail
        self._state = StateDirectory.of(config.backend)
        self._workers = Workers(reactor, config.registry.threads)
        self._backend = BACKENDS[config.registry.backend].make(config.backend, self._workers, reactor)
        self.registry = make_registry(config, self._backend, self._workers, reactor)
        self._publishing = PublishQueue(self.registry.publisher)
        if config.ipfs.publish == "always":
            self.registry.manifests.tagged = self._publishing.add
        self._peer_id = ""
        self.ready = False
        """Whether it takes clients."""
        self._serving = False
        self.site = make_site(
            self.registry,
            self._workers,
            reactor,
            Limits(idle=config.registry.idle_timeout, stall=config.registry.stall_timeout),
            access_log=config.registry.access_log,
            gateway=self._gateway(),
            read_only=self._backend.read_only,
        )
        self.ports: list[IListeningPort] = []
        tasks = tasks_of(self.registry, self._backend)
        streams = Streams(self.registry)
        self._control = ControlServer(tasks, self._state.control_socket, reactor, streams)
        self._background = MultiService()
        self._starting: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin to start: it is ready when it says so in the log and to systemd."""
        super().startService()
        keep_freed_pieces()
        self._workers.startService()
        self._starting = ensureDeferred(self._start()).addErrback(self._could_not_start)

    def stopService(self) -> "Deferred[None]":
        """Take no new clients, give open transfers a bounded time, then end."""
        super().stopService()
        return ensureDeferred(self._stop())

    def _gateway(self) -> Gateway | None:
        options = self._config.gateway
        if not options.enabled:
            return None
        if self._backend.encrypted():
            self._log.info("The bucket is encrypted, so nothing is served by CID.")
            return None

        def allowed(repository: str) -> bool:
            # Asked each time: a bucket on a server says only there what it is.
            return not self._backend.is_encrypted() and options.allows(repository)

        return Gateway(allowed, options.address, lambda: self._peer_id)

    async def _start(self) -> None:
        if self._config.pin.service is not None and self._backend.remote_pins is None:
            raise SetupError(f"[pin] service: the backend {self._config.registry.backend} cannot use a pinning service")
        self._state.acquire()
        await self.registry.start()
        self._peer_id = await self._workers.run(load_peer_id, self._state.path / "peer-id")
        await self._control.start()
        for description in self._config.registry.listen:
            self.ports.append(await self._listen(description))
        await self._note_seen()
        self._add_background_work()
        self._background.startService()
        self._say_ready()

    async def _listen(self, description: str) -> IListeningPort:
        try:
            port: IListeningPort = await serverFromString(self._reactor, description).listen(self.site)
        except CannotListenError as error:
            raise SetupError(f"{self._config.name}: [registry] listen: {description}: {error.socketError}") from None
        except CancelledError:
            raise
        except Exception as error:  # each kind of endpoint has its own
            raise SetupError(f"{self._config.name}: [registry] listen: {description}: {error}") from None
        return port

    def _could_not_start(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, (SetupError, BucketError)):
            self._fail(str(error))
        elif isinstance(error, OSError):
            self._fail(f"cannot use the directory {self._state.path}: {error}")
        elif self.running:
            self._log.failure("ipfsreg cannot start", failure)
            self._fail("cannot start; the log says why")

    def _say_ready(self) -> None:
        url, host = _addresses(self._config.registry.listen, self.ports)
        trial = "docker pull busybox && docker tag busybox {host}/busybox && docker push {host}/busybox"
        if self._backend.read_only is not None:
            trial = "curl {url}_catalog"
        self._log.info(f"Ready: {{url}} on {{bucket}}. Try: {trial}", url=url, bucket=self.registry.name, host=host)
        self.ready = self._serving = True
        notify("READY=1")

    def _add_background_work(self) -> None:
        registry = self.registry
        work: list[tuple[str, float | None, Callable[[], Awaitable[object]]]] = [
            ("note that the daemon runs", _SEEN_EVERY, self._note_seen),
            ("expire upload sessions", _EXPIRE_EVERY, registry.uploads.expire),
            ("collect garbage", self._gc_interval(), self._collect),
            ("scrub", self._scrub_interval(), registry.scrubber.run),
        ]
        refresh = Periodic(
            self._reactor,
            "bring the index of CIDs up to date",
            _CIDS_EVERY,
            registry.cid_refresh.run_if_needed,
            first=0.0,
        )
        refresh.setServiceParent(self._background)
        work += [(each.what, each.seconds, each.work) for each in self._backend.repeated]
        service, remote_pins = self._config.pin.service, self._backend.remote_pins
        if service is not None and remote_pins is not None:
            work.append(
                (
                    "keep a copy at the pinning service",
                    self._config.pin.interval,
                    partial(remote_pins.keep_copy, service),
                )
            )
        for what, seconds, function in work:
            if seconds is not None:
                Periodic(self._reactor, what, seconds, function).setServiceParent(self._background)

    async def _note_seen(self) -> None:
        self._state.note_daemon(2 * _SEEN_EVERY)

    def _gc_interval(self) -> float | None:
        # The collector knows what this daemon's clients rely on, and not what those of others do.
        gc = self._config.gc
        if self._backend.read_only is not None:
            return None
        if self._backend.bucket.shared and "interval" not in gc.model_fields_set:
            self._log.info(
                "Other daemons may use {bucket}, so garbage is not collected by itself: run `ipfsreg gc` while "
                "nobody pushes, or set [gc] interval where this is the only daemon.",
                bucket=self.registry.name,
            )
            return None
        return gc.interval

    def _scrub_interval(self) -> float | None:
        scrub, why_not = self._config.scrub, self._backend.not_read_needlessly
        if self._backend.read_only is not None:
            self._log.info("Garbage is collected, and content scrubbed, where it is published and not here.")
            return None
        if why_not is not None and "interval" not in scrub.model_fields_set:
            self._log.info("Stored content is not scrubbed unless [scrub] interval is set: {why}.", why=why_not)
            return None
        return scrub.interval

    async def _collect(self) -> None:
        collection = await self.registry.collector.run()
        if collection.contents or collection.manifests or collection.blob_links:
            self._log.info(
                "Collected {manifests} manifests and {contents} contents: {freed} bytes freed.",
                manifests=collection.manifests,
                contents=collection.contents,
                freed=collection.freed,
            )

    async def _stop(self) -> None:
        notify("STOPPING=1")
        self.ready = False
        if self._starting is not None:
            self._starting.cancel()
        if self._background.running:
            self._background.stopService()
        for port in self.ports:
            await stop_listening(port)
        try:
            await self._control.stop()
            await self._let_transfers_end()
            await self.site.close_connections()
            self._publishing.stop()
            await self.registry.stop()
            if self._serving:
                self._state.note_daemon()
        finally:
            self._workers.stopService()  # else the threads keep the process
            self._state.release()

    async def _let_transfers_end(self) -> None:
        until = self._reactor.seconds() + self._config.registry.shutdown_grace
        if self.site.busy:
            self._log.info(
                "Stopping: {count} transfers have up to {seconds:g} s to end.",
                count=self.site.busy,
                seconds=self._config.registry.shutdown_grace,
            )
        self.site.close_idle_connections()
        while self.site.sending and self._reactor.seconds() < until:
            await deferLater(self._reactor, 0.05, lambda: None)
            self.site.close_idle_connections()


def _addresses(descriptions: Sequence[str], ports: Sequence[IListeningPort]) -> tuple[str, str]:
    """What to call the daemon: all its URLs for a reader, and one host:port for `docker push`."""
    urls, hosts = [], []
    for description, port in zip(descriptions, ports, strict=True):
        address = port.getHost()
        if isinstance(address, (IPv4Address, IPv6Address)):
            shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
            hosts.append(f"[{shown}]:{address.port}" if ":" in shown else f"{shown}:{address.port}")
            urls.append(f"{'https' if description.startswith(('ssl:', 'tls:')) else 'http'}://{hosts[-1]}/v2/")
        else:
            urls.append(description)
    return ", ".join(urls), (hosts or ["HOST"])[0]
