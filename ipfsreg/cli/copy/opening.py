"""`ipfsreg copy` at work: its places are opened, and images copied. A kind of place that is not used is not loaded."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ipfsreg.bucket.errors import SetupError
from ipfsreg.cli.errors import control_error
from ipfsreg.client.address import RegistryAddress
from ipfsreg.client.errors import RemoteError
from ipfsreg.client.registry import RegistryClient
from ipfsreg.copying.copier import Copier, Known
from ipfsreg.copying.dry_run import DryRun, Holding
from ipfsreg.copying.places import Destination, Selection, Source
from ipfsreg.copying.renaming import Naming, Renamed
from ipfsreg.copying.tally import Tally
from ipfsreg.flow.workers import Workers

from .places import Car, Configured, Layout, Where, are_same

_THREADS = 4


@dataclass(frozen=True, slots=True)
class _Place:
    """How a place is opened to copy from, and to copy to, for which it is made if need be. ``file`` is its path."""

    source: Callable[[], AbstractAsyncContextManager[Source]]
    destination: Callable[[], AbstractAsyncContextManager[Destination]]
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """What is to be copied, from where and to where. ``names`` say what images are called there.

    ``authorities`` is a PEM file that https is trusted by.
    """

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
        place = partial(_place, reactor=reactor, workers=workers, authorities=self.authorities)
        to = place(self.destination)
        try:
            async with (
                place(self.source).source() as source,
                _dry_run(to, workers) if self.dry_run else to.destination() as destination,
            ):
                is_source = are_same(self.source, self.destination) and not self.dry_run
                known = Known()
                for selection, naming in self.names:
                    renamed = Renamed(destination, naming, is_source=is_source)
                    copier = Copier(source, renamed, tally, naming=naming, known=known, jobs=self.jobs)
                    await copier.run(selection)
        except RemoteError as error:
            raise control_error(error) from None
        finally:
            workers.stopService()


def _place(where: Where, *, reactor: Any, workers: Workers, authorities: Path | None) -> _Place:
    if isinstance(where, Layout):
        from ipfsreg.copying.directory import open_directory, open_layout

        return _Place(
            partial(open_layout, where.path, workers), partial(open_directory, where.path, workers), where.path
        )
    if isinstance(where, Car):
        from ipfsreg.copying.car import open_car, open_new_car

        return _Place(partial(open_car, where.path, workers), partial(open_new_car, where.path, workers), where.path)
    if isinstance(where, RegistryAddress):
        elsewhere = partial(_elsewhere, where, reactor, authorities)
        return _Place(elsewhere, elsewhere)
    configured = partial(_configured, where, reactor)
    return _Place(partial(configured, may_make_bucket=False), partial(configured, may_make_bucket=True))


@asynccontextmanager
async def _elsewhere(address: RegistryAddress, reactor: Any, authorities: Path | None) -> AsyncIterator[RegistryClient]:
    client = RegistryClient(reactor, address, authorities=authorities)
    try:
        await client.ping()
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def _configured(where: Configured, reactor: Any, *, may_make_bucket: bool) -> AsyncIterator[RegistryClient]:
    from ipfsreg.cli.access import reach

    async with (
        reach(where.config, reactor, may_make_bucket=may_make_bucket) as registry,
        registry.client(f"the registry of {where.config.name}") as client,
    ):
        await client.ping()
        yield client


@asynccontextmanager
async def _dry_run(place: _Place, workers: Workers) -> AsyncIterator[DryRun]:
    """A place as it is, which takes everything and stores nothing. Nothing is made."""
    async with AsyncExitStack() as until_end:
        holding: Holding | None = None
        if place.file is None or await workers.run(os.path.lexists, place.file):
            with suppress(SetupError):  # there is nothing yet
                holding = await until_end.enter_async_context(place.source())
        yield DryRun(holding)
