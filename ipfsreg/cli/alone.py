"""The registry as it is put together for one command, where no daemon runs."""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from twisted.internet.interfaces import IReactorTime

from ipfsreg.app.assembly import assemble, make_control
from ipfsreg.app.control.events import EVERY_SECONDS, Event, Listing, Long
from ipfsreg.app.control.tasks import tasks_of
from ipfsreg.app.control.unknown import explained
from ipfsreg.app.parts import Parts
from ipfsreg.app.state_directory import StateDirectory, check_user
from ipfsreg.config.sections import Config
from ipfsreg.flow.progress import Progress
from ipfsreg.flow.repeating import repeating
from ipfsreg.registry.names import parse_reference

from .errors import ControlError

if TYPE_CHECKING:
    from ipfsreg.client.registry import RegistryClient


class Alone:
    """A registry that was put together and opened here."""

    def __init__(self, parts: Parts, clock: IReactorTime) -> None:
        self._clock = clock
        self._parts = parts
        self._registry = parts.registry
        self._workers = parts.workers
        self._tasks = tasks_of(parts.registry, parts.backend)

    async def do(
        self, task: str, arguments: Mapping[str, str], heard: Callable[[Event], None] | None = None
    ) -> dict[str, Any]:
        """Do a task of `tasks_of`, and answer its result.

        ``heard`` is told the events of one that has any: ``progress`` now and then, and each page of ``items``.
        """
        if task not in self._tasks:
            raise ControlError(f"the backend does not do {task}")
        work = self._tasks[task]
        if isinstance(work, Listing):
            async with aclosing(work.pages(arguments)) as pages:
                async for page in pages:
                    if heard is not None:
                        heard({"items": page})
            return {}
        if not isinstance(work, Long):
            return await work(arguments)
        progress = Progress()
        with repeating(lambda: heard and heard({"progress": asdict(progress)}), EVERY_SECONDS, self._clock):
            return await work.work(arguments, progress)

    async def export(self, name: str, began: Callable[[int], None], write: Callable[[bytes], None]) -> dict[str, Any]:
        """Export an image as a CAR. ``began`` is told how many bytes there will be, and ``write`` given all of them.

        Answers the CID of the ``root``, and how many of its manifests are ``missing``. ``write`` may be called in a
        thread.
        """
        repository, reference = parse_reference(name)
        work = self._registry.exporter.export(repository, reference)
        export = await explained(self._registry, repository, reference, work)
        began(export.length)
        async for piece in export.pieces():
            await self._workers.run(write, piece)
        return {"root": str(export.root), "missing": len(export.missing)}

    async def import_image(
        self, name: str | None, pieces: AsyncGenerator[bytes, None], length: int | None
    ) -> dict[str, Any]:
        """Import an image from a CAR of ``length`` bytes, if that is known.

        Answers its ``name``, its ``digest``, and those of its manifests that are ``missing``.
        """
        return (await self._registry.importer.run(pieces, name)).document

    @asynccontextmanager
    async def client(self, name: str) -> AsyncIterator["RegistryClient"]:
        """A client of the registry, which messages call ``name``. Meanwhile other commands reach it as a daemon."""
        from .socket_registry import registry_at

        control = make_control(self._parts, self._clock)
        await control.start()
        try:
            async with registry_at(self._clock, self._parts.state.control_socket, name) as client:
                yield client
        finally:
            await control.stop()


def _ask_passphrase(config: Config) -> str:
    """Ask for the passphrase of the member's key, where it is needed and only the user at a terminal can say it."""
    if not config.encryption.enabled or not sys.stdin.isatty():
        return ""
    from ipfsreg.app.encryption import lacks_passphrase  # not loaded where nothing is encrypted

    if not lacks_passphrase(config.encryption):
        return ""
    passphrase: str = click.prompt(f"Passphrase of {config.encryption.key}", hide_input=True, err=True)
    return passphrase


@asynccontextmanager
async def open_alone(
    config: Config, state: StateDirectory, reactor: Any, *, may_make_bucket: bool
) -> AsyncIterator[Alone]:
    """The registry of a configuration, closed at the end. The directory ``state`` is locked, and is released then.

    :raises SetupError: where there is no bucket and none may be made, and where root would work in the directory of
        another user.
    """
    try:
        check_user(state.path)
        parts = assemble(config, reactor, daemon_seen=state.last_seen(), passphrase=_ask_passphrase(config))
        parts.workers.startService()
        try:
            if parts.backend.existing is not None and not may_make_bucket:
                await parts.backend.existing()
            await parts.registry.start()
            try:
                yield Alone(parts, reactor)
            finally:
                await parts.registry.stop()
        finally:
            parts.workers.stopService()
    finally:
        state.release()
