"""What all commands share: their options, the configuration, and how they have the registry do something.

Each of these loads what it needs when it is called: `--help` and a shell that completes a line do without any of it.
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from ipfsreg.flow.interrupt import interrupt_ends_at_once
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.names import parse_reference

from .errors import Exit
from .terminal.declare import OneLine
from .terminal.progress import ProgressBar

if TYPE_CHECKING:
    from ipfsreg.app.control.events import Event
    from ipfsreg.bucket.opened import Opened
    from ipfsreg.config.sections import Config

    from .access import RegistryAccess

T = TypeVar("T")

config_option = click.option(
    "--config",
    "-c",
    "path",
    type=click.Path(path_type=Path, readable=False),  # who reads it says in one line why it cannot
    help="The configuration file; without it ./ipfsreg.ini, the user's and the system's are looked for.",
)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A registry at an address, and the PEM file of the authorities that vouch for it, if not the system's do."""

    url: str
    authorities: Path | None


_CA = "ipfsreg.cli.command.ca"


def _note_ca(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    context.meta[_CA] = value


def _elsewhere(context: click.Context, parameter: click.Parameter, value: str | None) -> Elsewhere | None:
    return None if value is None else Elsewhere(value, context.meta[_CA])


def registry_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options ``--registry`` and ``--ca``, and its function the argument ``elsewhere``."""
    function = click.option(
        "--ca",
        is_eager=True,
        expose_value=False,
        callback=_note_ca,
        type=click.Path(path_type=Path, readable=False),
        help="A PEM file with the authorities that sign that registry's certificate, instead of the system's.",
    )(function)
    return click.option(
        "--registry",
        "elsewhere",
        metavar="URL",
        callback=_elsewhere,
        help="A registry elsewhere, such as https://registry.example, with the credentials of `docker login`.",
    )(function)


image_argument = click.argument("name", metavar="NAME[:TAG|@DIGEST]")


def fail(message: str, status: Exit = Exit.USAGE) -> NoReturn:
    """End the program with one line."""
    raise OneLine(f"ipfsreg: {message}", status)


@contextmanager
def in_one_line(*errors: type[Exception]) -> Iterator[None]:
    """A block in which such an error is a problem for the user, and ends the program with what it says."""
    try:
        yield
    except errors as error:
        fail(str(error), Exit.PROBLEM)


def load(path: Path | None, *, for_daemon: bool = False) -> "Config":
    """The configuration of that file, or of the one that is found; what is wrong with it ends the program."""
    with interrupt_ends_at_once():
        from twisted.internet import reactor

        from ipfsreg.app.configuration import load_config
        from ipfsreg.config.errors import ConfigError
        from ipfsreg.config.file import find_config

    try:
        return load_config(path or find_config(), reactor, for_daemon=for_daemon)
    except ConfigError as error:
        fail(str(error))


def image_name(path: Path | None, given: str, elsewhere: Elsewhere | None = None) -> str:
    """An image's name without the host of its registry, with which clients have it; anything else ends the program.

    A repository's name has no colon, so what has one before its first slash is a host.
    """
    name = given.removeprefix("docker://")
    host, slash, rest = name.partition("/")
    if slash and elsewhere is not None and host == elsewhere.url.rpartition("://")[2].rstrip("/"):
        name = rest
    elif slash and ":" in host:
        if elsewhere is not None or not _is_this_registry(load(path), host):
            fail(f"{given}: this registry does not listen at {host}; name the image without a host: {rest}")
        name = rest
    try:
        parse_reference(name)
    except RegistryError as error:
        fail(f"{given}: {error.message}")
    return name


def _is_this_registry(config: "Config", host: str) -> bool:
    from ipfsreg.config.endpoints import listens_as

    address, _, port = host.rpartition(":")
    return port.isdecimal() and any(
        listens_as(endpoint, address.strip("[]"), int(port)) for endpoint in config.registry.listen
    )


def ask(
    path: Path | None,
    task: str,
    arguments: dict[str, str] | None = None,
    *,
    elsewhere: Elsewhere | None = None,
    scratch: bool = False,
    quiet: bool = False,
    progress: ProgressBar | None = None,
    each: Callable[[Any], None] | None = None,
) -> dict[str, Any]:
    """Have the registry do a task, and answer its result; see `with_registry`.

    ``elsewhere`` is another registry, where the protocol can do the task. ``progress`` shows how far it
    is, and ``each`` is called with whatever a task lists, as it comes.
    """

    def heard(event: "Event") -> None:
        if progress is not None and "progress" in event:
            progress.at(**event["progress"])
        elif "items" in event:
            if each is not None:
                for item in event["items"]:
                    each(item)
            if progress is not None:
                progress.advance(len(event["items"]))

    if elsewhere is None:
        return with_registry(
            path, lambda registry: registry.do(task, arguments or {}, heard), scratch=scratch, quiet=quiet
        )
    if path is not None:
        fail("--config and --registry name two registries: leave one out")

    with interrupt_ends_at_once():
        from .remote import reach_remote  # a client of other registries, and only for them

    async def reached(reactor: Any) -> dict[str, Any]:
        async with reach_remote(elsewhere.url, elsewhere.authorities, reactor) as registry:
            return await registry.do(task, arguments or {}, heard)

    return with_reactor(reached)


def ask_server(path: Path | None, backend: str, task: str, arguments: dict[str, str] | None = None) -> dict[str, Any]:
    """As `ask`, for what concerns the server that has the bucket, so that no daemon need have been here.

    Where the configuration has another ``backend``, that ends the program.
    """
    need_backend(path, backend)
    return ask(path, task, arguments, scratch=True)


def need_backend(path: Path | None, backend: str) -> None:
    """End the program where this command is for another backend than the configuration names."""
    named = load(path).registry.backend
    if named != backend:
        fail_for(path, f"the backend {backend}", f"[registry] backend = {named}")


def fail_for(path: Path | None, needed: str, said: str) -> NoReturn:
    """End the program where this command needs something else than the configuration says."""
    from ipfsreg.config.file import find_config

    found = path or find_config()
    told = f"{found} says {said}" if found else f"without a configuration file it is {said}"
    fail(f"`{click.get_current_context().command_path}` needs {needed}, and {told}")


def backend_of(config: "Config") -> "Opened":
    """The backend of a configuration, to look at and not to be opened."""
    from twisted.internet import reactor

    from ipfsreg.app.configuration import make_backend
    from ipfsreg.flow.workers import Workers

    return make_backend(config, Workers(reactor, config.registry.threads), reactor)


def describe_storage(path: Path | None, config: "Config | None" = None) -> str:
    """What to call the storage that a command uses, and why it is that one."""
    from ipfsreg.config.file import find_config

    found = path or find_config()
    said = f"as {found} says" if found else "without a configuration file"
    return f"{backend_of(config or load(path)).bucket.name}, {said}"


def with_registry(
    path: Path | None,
    work: "Callable[[RegistryAccess], Coroutine[Any, Any, T]]",
    *,
    may_make_bucket: bool = False,
    scratch: bool = False,
    quiet: bool = False,
    about: str = "",
) -> T:
    """Do something with the registry of a configuration file, through its daemon or, where none runs, without one.

    See `reach` for ``may_make_bucket`` and ``scratch``, and `with_reactor` for how it ends. A failure names the
    storage, and what it is ``about``. If nobody said which configuration is meant, success names the storage too,
    unless ``quiet``.
    """
    config = load(path)
    storage = describe_storage(path, config)
    with interrupt_ends_at_once():
        from .access import reach

    async def reached(reactor: Any) -> T:
        async with reach(config, reactor, may_make_bucket=may_make_bucket, scratch=scratch) as registry:
            return await work(registry)

    which = storage if path is not None else f"{storage}; --config FILE names another registry"
    result = with_reactor(reached, lambda error: f"{about}{error} ({which})")
    if path is None and not quiet:  # at the end, when nothing else is drawn on the terminal
        context = click.get_current_context()
        context.call_on_close(lambda: click.echo(f"ipfsreg: this is about {which}", err=True))
    return result


def with_reactor(work: Callable[[Any], Coroutine[Any, Any, T]], say: Callable[[object], str] = str) -> T:
    """Do something that needs the reactor, and answer its result. A program can do that once.

    A failure that a user can understand ends the program with one line, for which ``say`` has the words. Interrupted,
    the work is cancelled, and the program ends when that has been cleaned up after.
    """
    with interrupt_ends_at_once():
        from .running import Failed, run

    try:
        return run(work)
    except Failed as error:
        fail(say(error.why), error.status)
