"""Commands for images as they are on IPFS: ``ipfsreg publish``, ``export`` and ``import``."""

import os
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.names import parse_reference

from .command import EXIT_PROBLEM, Alone, fail, run, run_with
from .image_streams import PIECE, export_through, import_through

ConfigOption = Callable[[Callable[..., Any]], Callable[..., Any]]

STANDARD = "-"


def make_image_commands(config_option: ConfigOption) -> Sequence[click.Command]:
    """The commands."""
    return [_publish(config_option), _export(config_option), _import(config_option)]


def _publish(config_option: ConfigOption) -> click.Command:
    @click.command()
    @config_option
    @click.argument("name", metavar="NAME[:TAG|@DIGEST]")
    def publish(path: Path | None, name: str) -> None:
        """Print the CID by which an image is pulled with `nerdctl pull ipfs://CID`.

        Stores the image's IPFS-enabled view beside it, in which each descriptor has its ipfs:// URL. It goes with the
        image. Doing so again prints the same CID.
        """
        _check_name(name)
        found = run(path, "publish", {"name": name})
        _say_missing(len(found["missing"]))
        click.echo(found["cid"])

    return publish


def _export(config_option: ConfigOption) -> click.Command:
    @click.command()
    @config_option
    @click.argument("name", metavar="NAME[:TAG|@DIGEST]")
    @click.option(
        "--output", "-o", default=STANDARD, metavar="FILE", help="The CAR file to write; - is standard output."
    )
    def export(path: Path | None, name: str, output: str) -> None:
        """Write an image to a CAR file, and print the CID of its root.

        The root is a directory, an OCI image layout. `ipfs dag import` brings the file into an IPFS node, and
        HOST/ipfs/CID pulls it from any registry on that node, or on one that is connected to it.
        """
        _check_name(name)
        if output == STANDARD and sys.stdout.isatty():
            fail("a CAR file is not for a terminal: give it a name with -o FILE")
        with _output(output) as file:
            root, missing = _export_to(path, name, file)
        _say_missing(missing)
        click.echo(root, err=output == STANDARD)

    return export


def _import(config_option: ConfigOption) -> click.Command:
    @click.command("import")
    @config_option
    @click.argument("file", metavar="FILE")
    @click.argument("name", metavar="[NAME[:TAG]]", required=False)
    def import_(path: Path | None, file: str, name: str | None) -> None:
        """Store the image that is in a CAR file, by default under the name that it has there. - is standard input.

        Every block is compared with its CID, and nothing is stored unless all of the image is there.
        """
        if name is not None:
            _check_name(name)
        with _input(file) as opened:
            found = _import_from(path, opened, name)
        _say_missing(len(found["missing"]))
        click.echo(f"{found['name']} {found['digest']}")

    return import_


def _export_to(path: Path | None, name: str, file: IO[bytes]) -> tuple[str, int]:
    bar = _Bar("Exporting")

    async def in_daemon(reactor: Any, socket: Path) -> tuple[str, int]:
        def write(piece: bytes) -> None:
            file.write(piece)
            bar.moved(len(piece))

        return await export_through(reactor, socket, name, bar.begin, write)

    async def alone(_: Any, made: Alone) -> tuple[str, int]:
        export = await made.registry.exporter.export(*parse_reference(name))
        bar.begin(export.length)
        async for piece in export.pieces():
            await made.workers.run(file.write, piece)
            bar.moved(len(piece))
        return str(export.root), len(export.missing)

    with bar:
        return run_with(path, in_daemon, alone)


def _import_from(path: Path | None, file: IO[bytes], name: str | None) -> dict[str, Any]:
    status = os.fstat(file.fileno())
    length = status.st_size if stat.S_ISREG(status.st_mode) else None
    bar = _Bar("Importing")

    async def in_daemon(reactor: Any, socket: Path) -> dict[str, Any]:
        return await import_through(reactor, socket, name, file, length, bar.moved)

    async def alone(_: Any, made: Alone) -> dict[str, Any]:
        async def pieces() -> AsyncIterator[bytes]:
            while piece := await made.workers.run(file.read, PIECE):
                yield piece
                bar.moved(len(piece))

        found = await made.registry.importer.run(pieces(), name)
        return {"name": found.name, "digest": str(found.digest), "missing": found.missing}

    with bar:
        if length is not None:
            bar.begin(length)
        return run_with(path, in_daemon, alone, may_make_bucket=True)


class _Bar:
    """A progress bar on standard error, if that is a terminal. It is not there before its length is known."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None

    def begin(self, length: int) -> None:
        """There will be so many bytes."""
        if sys.stderr.isatty():
            self._bar = click.progressbar(
                length=length, label=self._label, file=sys.stderr, width=0, update_min_steps=max(length // 1000, 1)
            )
            self._bar.render_progress()

    def moved(self, length: int) -> None:
        """There are so many more now."""
        if self._bar is not None:
            self._bar.update(length)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.render_finish()


@contextmanager
def _output(name: str) -> Iterator[IO[bytes]]:
    """A file to write to, which has its name only once it is whole."""
    if name == STANDARD:
        yield sys.stdout.buffer
        return
    path = Path(name)
    if path.exists() and not path.is_file():  # a pipe, or a device
        with _opened(path, "wb") as file:
            yield file
        return
    try:
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        fail(f"{path.parent}: {error.strerror}")
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(draft, 0o666 & ~umask)
        os.replace(draft, path)
    except OSError as error:
        fail(f"{name}: {error.strerror}", EXIT_PROBLEM)
    finally:
        Path(draft).unlink(missing_ok=True)


@contextmanager
def _input(name: str) -> Iterator[IO[bytes]]:
    if name == STANDARD:
        yield sys.stdin.buffer
        return
    with _opened(Path(name), "rb") as file:
        yield file


def _opened(path: Path, mode: str) -> IO[bytes]:
    try:
        return path.open(mode)
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def _say_missing(count: int) -> None:
    if count:
        click.echo(f"Without {count} of the manifests that the image lists, which are not here.", err=True)


def _check_name(name: str) -> None:
    try:
        parse_reference(name)
    except RegistryError as error:
        fail(f"{name}: {error.message}")
