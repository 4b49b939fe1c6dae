"""The daemon's life: open, listen, look after itself, and end without losing anything."""

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ipfsreg.access.errors import AccessFileError
from ipfsreg.bucket.errors import BucketError, SetupError
from ipfsreg.web.errors import tell_left_out

from .background import PeriodicJobs, note_seen
from .control.server import ControlServer
from .heap import keep_freed_pieces
from .listening import Listeners
from .notify import notify
from .parts import Parts, Watcher
from .reloading import Reloadable


class Daemon(Service):
    """The registry as a service.

    ``find_problem`` says, in a thread, why it cannot start, before anything is made. ``fail`` is called with one line
    where it cannot.
    """

    _log = Logger()

    def __init__(
        self,
        parts: Parts,
        listeners: Listeners,
        control: ControlServer,
        background: PeriodicJobs,
        find_problem: Callable[[], str | None],
        fail: Callable[[str], None],
    ) -> None:
        self.parts = parts
        self.registry = parts.registry
        self.site = listeners.site
        self.ports = listeners.ports
        self.ready = False
        """Whether it takes clients."""
        self._listeners = listeners
        self._control = control
        self._background = background
        self._find_problem = find_problem
        self._fail = fail
        self._served = False
        self._watching: list[Watcher] = []
        self._starting: Deferred[None] | None = None

    @property
    def reloadables(self) -> list[Reloadable]:
        """What SIGHUP makes it read anew."""
        authority = self.parts.authority
        of_access = [] if authority is None else [Reloadable("[auth] and [access]", authority.reload)]
        return [*self._listeners.reloadables, *of_access]

    def startService(self) -> None:
        """Begin to start: it is ready when it says so in the log and to systemd."""
        super().startService()
        keep_freed_pieces()
        self.parts.workers.startService()
        self._starting = ensureDeferred(self._start()).addErrback(self._could_not_start)

    def stopService(self) -> "Deferred[None]":
        """Take no new clients, give open transfers a bounded time, then end."""
        super().stopService()
        return ensureDeferred(self._stop())

    async def _start(self) -> None:
        problem = await self.parts.workers.run(self._find_problem)
        if problem is not None:
            raise SetupError(problem)
        self.parts.state.acquire()
        if self.parts.authority is not None:
            await self.parts.workers.run(self.parts.authority.load)
        await self.registry.start()
        await self.parts.workers.run(self.parts.peer_id.load)
        for watcher in self.parts.watchers:
            await watcher.start()
            self._watching.append(watcher)
        await self._control.start()
        await self._listeners.open()
        await note_seen(self.parts.state)
        self._background.startService()
        url, host = self._listeners.addresses()
        self._log.info(
            f"Ready: {{url}} on {{bucket}}. Try: {self._trial}", url=url, bucket=self.registry.name, host=host
        )
        self.ready = self._served = True
        notify("READY=1")

    @property
    def _trial(self) -> str:
        backend = self.parts.backend
        login = "" if self.parts.authority is None else "docker login {host} && "
        if backend.read_only is not None or not backend.may_write():
            return login + "docker pull {host}/IMAGE"
        return login + "docker pull busybox && docker tag busybox {host}/busybox && docker push {host}/busybox"

    def _could_not_start(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, (SetupError, BucketError, AccessFileError)):
            self._fail(str(error))
        elif isinstance(error, OSError):
            self._fail(f"cannot use the directory {self.parts.state.path}: {error}")
        elif self.running:
            self._log.failure("ipfsreg cannot start", failure)
            self._fail("cannot start; the log says why")

    async def _stop(self) -> None:
        notify("STOPPING=1")
        self.ready = False
        if self._starting is not None:
            self._starting.cancel()
        if self._background.running:
            self._background.stopService()
        try:
            await self._listeners.close()
            self.registry.events.end()
            await self._control.stop()
            await self._listeners.end_transfers()
            tell_left_out()
            await self.registry.stop()
            if self.parts.authority is not None:
                await self.parts.authority.stop()
            while self._watching:
                await self._watching.pop().stop()
            if self._served:
                self.parts.state.note_daemon()
        finally:
            self.parts.workers.stopService()  # else the threads keep the process
            self.parts.state.release()
        self._log.info("Stopped.")
