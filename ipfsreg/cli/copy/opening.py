"""`ipfsreg copy` at work: its places are opened, and images copied. A kind of place that is not used is not loaded."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipfsreg.bucket.errors import SetupError
from ipfsreg.cli.errors import control_error
from ipfsreg.client.address import RegistryAddress
from ipfsreg.client.errors import RemoteError
from ipfsreg.client.registry import RegistryClient
from ipfsreg.copying.copier import Copier
from ipfsreg.copying.dry_run import DryRun, Holding
from ipfsreg.copying.places import Destination, Selection, Source
from ipfsreg.copying.renaming import Naming, Renamed
from ipfsreg.copying.tally import Tally
from ipfsreg.flow.workers import Workers

from .places import Car, Configured, Layout, Where, are_same

if TYPE_CHECKING:
    from ipfsreg.copying.layout import LayoutSource

_THREADS = 4


class Opener:
    """Opens places. ``authorities`` is a PEM file that https is trusted by, and ``workers`` are for files."""

    def __init__(self, reactor: Any, workers: Workers, authorities: Path | None) -> None:
        self._reactor = reactor
        self._workers = workers
        self._authorities = authorities

    @asynccontextmanager
    async def source(self, where: Where) -> AsyncIterator[Source]:
        """A place to copy from."""
        if isinstance(where, (Layout, Car)):
            async with self._layout(where) as layout:
                yield layout
        else:
            async with self._registry(where, may_make_bucket=False) as client:
                yield client

    @asynccontextmanager
    async def destination(self, where: Where) -> AsyncIterator[Destination]:
        """A place to copy to, which is made if need be."""
        if isinstance(where, Layout):
            from ipfsreg.copying.directory import open_directory

            async with open_directory(where.path, self._workers) as layout:
                yield layout
        elif isinstance(where, Car):
            from ipfsreg.copying.car import open_new_car

            async with open_new_car(where.path, self._workers) as car:
                yield car
        else:
            async with self._registry(where, may_make_bucket=True) as client:
                yield client

    @asynccontextmanager
    async def dry_run(self, where: Where) -> AsyncIterator[Destination]:
        """A place as it is, which takes everything and stores nothing. Nothing is made."""
        async with AsyncExitStack() as until_end:
            holding: Holding | None = None
            if not isinstance(where, (Layout, Car)):
                with suppress(SetupError):  # there is nothing yet
                    holding = await until_end.enter_async_context(self._registry(where, may_make_bucket=False))
            elif await self._workers.run(os.path.lexists, where.path):
                holding = await until_end.enter_async_context(self._layout(where))
            yield DryRun(holding)

    @asynccontextmanager
    async def _layout(self, where: Layout | Car) -> "AsyncIterator[LayoutSource]":
        if isinstance(where, Layout):
            from ipfsreg.copying.directory import DirectoryFiles
            from ipfsreg.copying.layout import LayoutSource, default_repository

            if not where.path.exists():
                raise RemoteError(f"{where.path}: there is no such directory, and no registry is called so")
            layout = LayoutSource(DirectoryFiles(where.path, self._workers), default_repository(where.path.name))
            await layout.load()
            yield layout
        else:
            from ipfsreg.copying.car import open_car

            async with open_car(where.path, self._workers) as car:
                yield car

    @asynccontextmanager
    async def _registry(
        self, where: Configured | RegistryAddress, *, may_make_bucket: bool
    ) -> AsyncIterator[RegistryClient]:
        if isinstance(where, RegistryAddress):
            client = RegistryClient(self._reactor, where, authorities=self._authorities)
            try:
                await client.ping()
                yield client
            finally:
                await client.close()
            return
        from ipfsreg.cli.access import reach

        async with (
            reach(where.config, self._reactor, may_make_bucket=may_make_bucket) as registry,
            registry.client(f"the registry of {where.config.name}") as client,
        ):
            await client.ping()
            yield client


@dataclass(frozen=True, slots=True)
class Copy:
    """What is to be copied, from where and to where. ``names`` say what images are called there."""

    source: Where
    destination: Where
    names: Sequence[tuple[Selection, Naming]]
    authorities: Path | None
    dry_run: bool
    jobs: int

    async def run(self, reactor: Any, tally: Tally) -> None:
        """Do it. What could not be copied is in the tally.

        :raises ControlError: where it could not begin, or could not go on.
        """
        workers = Workers(reactor, _THREADS)
        workers.startService()
        opener = Opener(reactor, workers, self.authorities)
        try:
            async with (
                opener.source(self.source) as source,
                (opener.dry_run if self.dry_run else opener.destination)(self.destination) as destination,
            ):
                is_source = are_same(self.source, self.destination) and not self.dry_run
                for selection, naming in self.names:
                    renamed = Renamed(destination, naming, is_source=is_source)
                    await Copier(source, renamed, tally, jobs=self.jobs).run(selection)
        except RemoteError as error:
            raise control_error(error) from None
        finally:
            workers.stopService()
