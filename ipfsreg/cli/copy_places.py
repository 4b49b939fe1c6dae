"""The two ends of `ipfsreg copy`: what a user may write for one, and how it is opened."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ipfsreg.bucket.errors import SetupError
from ipfsreg.client.address import RegistryAddress, parse_address
from ipfsreg.client.errors import AccessDenied, RemoteError, Unknown, Unreachable
from ipfsreg.client.registry import RegistryClient
from ipfsreg.config.sections import Config
from ipfsreg.copying.car import open_car, open_new_car
from ipfsreg.copying.directory import DirectoryFiles, open_directory
from ipfsreg.copying.dry_run import DryRun, Holding
from ipfsreg.copying.layout import LayoutSource, default_repository
from ipfsreg.copying.places import Destination, Source
from ipfsreg.flow.workers import Workers

from .access import reach
from .command import load
from .errors import ControlError, Exit

_PREFIXES = ("ini:", "oci:", "car:")
_EXITS: tuple[tuple[type[RemoteError], Exit], ...] = (
    (AccessDenied, Exit.REFUSED),
    (Unknown, Exit.UNKNOWN),
    (Unreachable, Exit.UNAVAILABLE),
)


def control_error(error: RemoteError) -> ControlError:
    """How a command ends that failed so."""
    return ControlError(str(error), next((status for kind, status in _EXITS if isinstance(error, kind)), Exit.PROBLEM))


@dataclass(frozen=True, slots=True)
class Layout:
    """A directory with an OCI image layout."""

    path: Path


@dataclass(frozen=True, slots=True)
class Car:
    """A CAR file."""

    path: Path


Where = Config | RegistryAddress | Layout | Car


class PlaceType(click.ParamType):
    """One end of a copy."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Where:
        """See click."""
        text = str(value)
        prefix, rest = next(((each, text[len(each) :]) for each in _PREFIXES if text.startswith(each)), ("", text))
        path = Path(rest)
        if prefix == "ini:" or (not prefix and path.suffix == ".ini"):
            return load(path)
        if prefix == "car:" or (not prefix and path.suffix == ".car"):
            return Car(path)
        if prefix == "oci:" or path.is_dir() or not _is_host(text):
            return Layout(path)
        try:
            return parse_address(text.removeprefix("docker://"))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _is_host(text: str) -> bool:
    """Whether this is a registry rather than a directory that is not there yet."""
    host, slash, _ = text.partition("/")
    return "://" in text or (not slash and (host == "localhost" or "." in host[1:] or ":" in host))


def check_different(source: Where, destination: Where) -> None:
    """:raises click.UsageError: for a copy of something onto itself."""
    one, other = (
        each.backend.state_directory if isinstance(each, Config) else getattr(each, "path", each)
        for each in (source, destination)
    )
    if one == other:
        raise click.UsageError("SOURCE and DESTINATION are the same")


class Opener:
    """Opens places. ``authorities`` is a PEM file that https is trusted by, and ``workers`` are for files."""

    def __init__(self, reactor: Any, workers: Workers, authorities: Path | None) -> None:
        self._reactor = reactor
        self._workers = workers
        self._authorities = authorities

    @asynccontextmanager
    async def source(self, where: Where, read: Callable[[int], None]) -> AsyncIterator[Source]:
        """A place to copy from. ``read`` is told of the bytes that have to be read of a file before it can begin."""
        if isinstance(where, (Layout, Car)):
            async with self._layout(where, read) as layout:
                yield layout
        else:
            async with self._registry(where, may_make_bucket=False) as client:
                yield client

    @asynccontextmanager
    async def destination(self, where: Where) -> AsyncIterator[Destination]:
        """A place to copy to, which is made if need be."""
        if isinstance(where, Layout):
            async with open_directory(where.path, self._workers) as layout:
                yield layout
        elif isinstance(where, Car):
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
                holding = await until_end.enter_async_context(self._layout(where, lambda amount: None))
            yield DryRun(holding)

    @asynccontextmanager
    async def _layout(self, where: Layout | Car, read: Callable[[int], None]) -> AsyncIterator[LayoutSource]:
        if isinstance(where, Layout):
            layout = LayoutSource(DirectoryFiles(where.path, self._workers), default_repository(where.path.name))
            await layout.load()
            yield layout
        else:
            async with open_car(where.path, self._workers, read) as car:
                yield car

    @asynccontextmanager
    async def _registry(
        self, where: Config | RegistryAddress, *, may_make_bucket: bool
    ) -> AsyncIterator[RegistryClient]:
        if isinstance(where, RegistryAddress):
            client = RegistryClient(self._reactor, where, authorities=self._authorities)
            try:
                await client.ping()
                yield client
            finally:
                await client.close()
            return
        async with (
            reach(where, self._reactor, may_make_bucket=may_make_bucket) as registry,
            registry.client(f"the registry of {where.name}") as client,
        ):
            await client.ping()
            yield client
