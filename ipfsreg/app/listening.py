"""The endpoints on which the daemon takes clients."""

import errno
import os
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.endpoints import has_tls, scheme_of, server_endpoint
from ipfsreg.config.sections import RegistryOptions
from ipfsreg.flow.periodic import Periodic
from ipfsreg.flow.workers import Workers
from ipfsreg.web.http.server import HttpServer

from .certificates import WATCH_SECONDS, Certificates
from .reloading import Reloadable


async def stop_listening(port: IListeningPort) -> None:
    """Take no more connections."""
    address = port.getHost()
    if isinstance(address, UNIXAddress) and address.name is not None:
        # Somebody may have removed the file. Twisted removes it before it does all else, and does nothing else then.
        with suppress(OSError, ValueError):  # it is there, as it should be; or it is no file
            os.mknod(address.name)
    with suppress(FileNotFoundError):  # of the directory that is gone, too
        await maybeDeferred(port.stopListening)


class Listeners:
    """The ports of a site. ``name`` is what to call the configuration; ``certificates`` are those of ``[tls]``."""

    _log = Logger()

    def __init__(
        self,
        site: HttpServer,
        options: RegistryOptions,
        name: str,
        certificates: Certificates | None,
        workers: Workers,
        reactor: Any,
    ) -> None:
        self.site = site
        self.ports: list[IListeningPort] = []
        self._options = options
        self._name = name
        self._certificates = certificates
        self._workers = workers
        self._reactor = reactor
        self._watch: Periodic | None = None

    @property
    def reloadables(self) -> list[Reloadable]:
        """What can be read anew."""
        if self._certificates is None:
            return []
        return [Reloadable("[tls]", partial(self._workers.run, self._certificates.load))]

    async def open(self) -> None:
        """Take clients. :raises SetupError: where that cannot be on one of the endpoints."""
        certificates = self._certificates
        if certificates is not None:
            self._log.info("Clients are shown {now}.", now=await self._workers.run(certificates.load))
            self._watch = Periodic(
                self._reactor,
                "look for new certificates",
                WATCH_SECONDS,
                partial(self._workers.run, certificates.reload_if_changed),
            )
            self._watch.startService()
        for description in self._options.listen:
            site: ServerFactory | TLSMemoryBIOFactory = self.site
            if certificates is not None and has_tls(description):
                site = TLSMemoryBIOFactory(certificates, False, self.site)
            try:
                self.ports.append(await server_endpoint(description, self._reactor).listen(site))
            except CancelledError:
                raise
            except Exception as error:  # each kind of endpoint has its own
                why = error.socketError if isinstance(error, CannotListenError) else error
                raise SetupError(f"{self._name}: [registry] listen: {description}: {_said(why)}") from None

    async def close(self) -> None:
        """Take no new clients."""
        if self._watch is not None:
            self._watch.stopService()
            self._watch = None
        for port in self.ports:
            await stop_listening(port)

    async def end_transfers(self) -> None:
        """Give open transfers the time that is configured for them, then close all connections."""
        site, grace = self.site, self._options.shutdown_grace
        until = self._reactor.seconds() + grace
        if site.busy:
            self._log.info(
                "Stopping: {count} transfers have up to {seconds:g} s to end.", count=site.busy, seconds=grace
            )
        site.close_idle_connections()
        while site.sending and self._reactor.seconds() < until:
            await deferLater(self._reactor, 0.05, lambda: None)
            site.close_idle_connections()
        await site.close_connections()

    def addresses(self) -> tuple[str, str]:
        """What to call the daemon: all its URLs for a reader, and one host:port for `docker push`."""
        urls, hosts = [], []
        name = None if self._certificates is None else self._certificates.name
        for description, port in zip(self._options.listen, self.ports, strict=True):
            address = port.getHost()
            if isinstance(address, (IPv4Address, IPv6Address)):
                shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
                shown = f"[{shown}]:{address.port}" if ":" in shown else f"{shown}:{address.port}"
                urls.append(f"{scheme_of(description)}://{shown}/v2/")
                hosts.append(f"{name}:{address.port}" if name and has_tls(description) else shown)
            else:
                urls.append(description)
        return ", ".join(urls), (hosts or ["HOST"])[0]


def _said(why: object) -> str:
    if isinstance(why, OSError) and why.errno == errno.EADDRINUSE:
        return (
            f"{why.strerror}; choose another port here, or without a configuration file by PORT=5001 in the environment"
        )
    return str(why)
