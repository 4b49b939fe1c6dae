"""How a command has its work done: by the daemon where it runs, else by a registry put together here."""

import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from ipfsreg.app.assembly import make_registry
from ipfsreg.app.control.tasks import tasks_of
from ipfsreg.app.state_directory import Locked, StateDirectory
from ipfsreg.bucket.backends import BACKENDS
from ipfsreg.bucket.errors import BucketError, SetupError
from ipfsreg.bucket.opened import Opened
from ipfsreg.bucket.options import BackendOptions
from ipfsreg.config.file import Config, ConfigError, find_config, load_config
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.registry import Registry

from .daemon_client import ControlError, ask

T = TypeVar("T")

EXIT_PROBLEM = 1
EXIT_USAGE = 2


@dataclass(frozen=True, slots=True)
class Alone:
    """A registry for one command, while no daemon runs."""

    registry: Registry
    backend: Opened
    workers: Workers


def load(path: Path | None, *, for_daemon: bool = False) -> Config:
    """The configuration of that file, or of the one that is found; what is wrong with it ends the program."""
    from twisted.internet import reactor

    try:
        return load_config(path or find_config(), reactor, for_daemon=for_daemon)
    except ConfigError as error:
        fail(str(error))


def options_of(path: Path | None, backend: str) -> BackendOptions:
    """The section of a backend, whether it is the one that is used or not."""
    return load(path).backends[backend]


def fail(message: str, status: int = EXIT_USAGE) -> NoReturn:
    """End the program with one line."""
    click.echo(f"ipfsreg: {message}", err=True)
    sys.exit(status)


def run(path: Path | None, task: str, arguments: dict[str, str]) -> dict[str, Any]:
    """Do a task in the daemon if it runs, else here."""
    results: list[dict[str, Any]] = []

    def once(result: dict[str, Any]) -> None:
        results.append(result)

    run_again(path, task, arguments, once)
    return results[0]


def run_again(
    path: Path | None, task: str, arguments: dict[str, str], go_on: Callable[[dict[str, Any]], str | None]
) -> None:
    """Do a task, and then whichever ``go_on`` names for its result, until it names none.

    All in one run of the reactor, which cannot be started twice.
    """

    async def in_daemon(reactor: Any, socket: Path) -> None:
        next_one: str | None = task
        while next_one is not None:
            next_one = go_on(await ask(reactor, socket, next_one, arguments))

    async def alone(_: Any, made: Alone) -> None:
        tasks = tasks_of(made.registry, made.backend)
        if task not in tasks:
            raise ControlError(f"the backend has no {task.partition('-')[0]}")
        next_one: str | None = task
        while next_one is not None:
            next_one = go_on(await tasks[next_one](arguments))

    run_with(path, in_daemon, alone)


def run_with(
    path: Path | None,
    in_daemon: Callable[[Any, Path], Awaitable[T]],
    alone: Callable[[Any, Alone], Awaitable[T]],
    *,
    may_make_bucket: bool = False,
) -> T:
    """Do something through the daemon's control socket, or alone; both are given the reactor first.

    A failure that a user can understand ends the program with one line. One is that there is no bucket yet, unless
    it ``may_make_bucket``: one that is merely not mounted must not be taken for an empty one.
    """
    config = load(path)

    async def work(reactor: Any) -> T:
        state = StateDirectory.of(config.backend)
        try:
            state.acquire()
        except Locked:
            return await in_daemon(reactor, state.control_socket)
        try:
            return await _alone(config, reactor, alone, may_make_bucket)
        finally:
            state.release()

    return run_alone(work)


def run_alone(work: Callable[[Any], Awaitable[T]]) -> T:
    """Do something with the reactor; answers what it answers, and ends the program where it fails."""
    results: list[T] = []

    async def keep_result(reactor: Any) -> None:
        results.append(await work(reactor))

    failure = _react(keep_result)
    if failure is not None:
        if failure.check(ControlError, BucketError, SetupError, RegistryError):
            fail(str(failure.value), EXIT_PROBLEM)
        failure.raiseException()
    return results[0]


def _react(work: Callable[[Any], Coroutine[Any, Any, None]]) -> Failure | None:
    failures: list[Failure] = []

    def main(reactor: Any) -> "Deferred[None]":
        return Deferred.fromCoroutine(work(reactor)).addErrback(failures.append)

    try:
        react(main, [])
    except SystemExit as end:
        if end.code:
            raise
    return failures[0] if failures else None


async def _alone(config: Config, reactor: Any, work: Callable[[Any, Alone], Awaitable[T]], may_make_bucket: bool) -> T:
    workers = Workers(reactor, config.registry.threads)
    workers.startService()
    try:
        backend = BACKENDS[config.registry.backend].make(config.backend, workers, reactor)
        if backend.existing is not None and not may_make_bucket:
            await backend.existing()
        seen = StateDirectory.of(config.backend).last_seen()
        registry = make_registry(config, backend, workers, reactor, daemon_seen=seen)
        await registry.start()
        try:
            return await work(reactor, Alone(registry, backend, workers))
        finally:
            await registry.stop()
    finally:
        workers.stopService()
