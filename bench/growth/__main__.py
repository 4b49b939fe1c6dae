"""``python -m bench.growth``: how each thing grows with the number of manifests that are stored.

Each store is made directly in the layout, in two shapes: a repository for each manifest (``spread``), and all in one
(``one``). A daemon is started upon it and asked, the first time and again, with pulls beside what it does in the
background. The exponent of a figure is the slope in logarithms: at 0 it does not grow, at 1 it is in proportion.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from bench.errors import BenchError
from bench.registries import IPFSREG, checkout_of

from . import curves, measure
from .places import PLACES
from .stored import SHAPES, some_of
from .turns import HURRY

_Runs = dict[str, dict[str, dict[int, float]]]
"""Figures by the shape (and the backend, if that is not ``local``), the figure's name, and how many manifests."""

_SIZES = (1_000, 10_000, 100_000)
_LARGE = 1_000_000
_PICTURES = (
    "start to ready",
    "memory, idle",
    "push",
    "tags page after a push",
    "catalog page after a push",
    "all tags",
    "delete",
    "referrers page",
    "referrers, none match",
    "clients, longest turn, processor",
    *(f"{what}{of}" for of in (", processor", ", memory", ", longest turn, processor") for what in measure.WORK),
)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that everything that was started is stopped on the way out


@click.command()
@click.option("--size", "sizes", multiple=True, type=click.IntRange(10), help="How many manifests, if not 10³ to 10⁵.")
@click.option("--large", is_flag=True, help="A million as well: needs 40 GiB of disk, 10 million inodes, and hours.")
@click.option("--shape", "shapes", multiple=True, type=click.Choice(SHAPES), default=SHAPES, show_default=True)
@click.option("--backend", type=click.Choice(list(PLACES)), default="local", show_default=True)
@click.option("--part", "parts", multiple=True, type=click.Choice(list(measure.PARTS)), default=list(measure.PARTS))
@click.option("--checkout", type=click.Path(path_type=Path, exists=True), help="Whose daemon runs, with its .venv.")
@click.option("--dir", "parent", type=click.Path(path_type=Path, file_okay=False, exists=True), help="For all data.")
@click.option("--keep", is_flag=True, help="Leave the stores in --dir, and use those that are there (local).")
@click.option("--only-make", is_flag=True, help="Make the stores, and measure nothing.")
@click.option("--hurry", is_flag=True, help="Let work in the background take no rests: a million takes long.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
@click.option(
    "--with",
    "others",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    help="The --json of another run, whose figures are put beside those of this one. Without --size nothing is run.",
)
@click.option("--before", type=click.Path(path_type=Path, exists=True), help="The --json of another run, for the plot.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the curves, as SVG.")
def main(
    sizes: tuple[int, ...],
    large: bool,
    shapes: tuple[str, ...],
    backend: str,
    parts: tuple[str, ...],
    checkout: Path | None,
    parent: Path | None,
    keep: bool,
    only_make: bool,
    hurry: bool,
    json_file: Path | None,
    others: tuple[Path, ...],
    before: Path | None,
    plot: Path | None,
) -> None:
    """Measure how this registry grows, and print a table for each shape."""
    signal.signal(signal.SIGTERM, _end)
    if hurry:
        os.environ[HURRY] = "1"
    registry = IPFSREG if checkout is None else checkout_of("checkout", checkout)
    wanted = [*(sizes or (() if others else _SIZES)), *([_LARGE] if large else [])]
    runs: _Runs = {}
    for file in others:
        for run, curves_of in _of_file(file).items():
            for name, curve in curves_of.items():
                runs.setdefault(run, {}).setdefault(name, {}).update(curve)
    for shape in shapes:
        for size in wanted:
            found = runs.setdefault(shape if backend == "local" else f"{backend}, {shape}", {})
            _say(f"{shape}, {size:,}: making the store")
            with (
                _directory(parent, f"growth-{shape}-{size}" if keep else None) as directory,
                PLACES[backend](registry, directory, shape, size) as placed,
            ):
                for part in () if only_make else parts:
                    try:
                        for name, value in measure.PARTS[part](placed, directory, shape, some_of(shape, size)):
                            found.setdefault(name, {})[size] = value
                            if json_file is not None:  # at once, since the next one may take hours
                                json_file.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
                            _say(f"{shape}, {size:,}: {name} {value:.3g} {measure.ALL[name]}")
                    except BenchError as error:
                        raise click.ClickException(f"{shape}, {size:,}: {error}") from error
    click.echo(f"{registry.version()}\n")
    for run, found in runs.items():
        columns = sorted({size for curve in found.values() for size in curve})
        click.echo(f"{run}\n\n{curves.table(found, measure.ALL, columns)}\n")
    if plot is not None:
        earlier = {} if before is None else {f"before, {run}": found for run, found in _of_file(before).items()}
        curves.plot({**earlier, **runs}, measure.ALL, _PICTURES, plot)


@contextmanager
def _directory(parent: Path | None, kept: str | None) -> Iterator[Path]:
    """A directory that is removed afterwards, or one with a name that is kept."""
    if kept is None:
        directory = Path(tempfile.mkdtemp(prefix="growth-", dir=parent))
    else:
        directory = (parent or Path(tempfile.gettempdir())) / kept
        directory.mkdir(exist_ok=True)
    try:
        yield directory
    finally:
        if kept is None:
            _say("removing it")
            shutil.rmtree(directory)


def _of_file(file: Path) -> _Runs:
    """The figures of another run."""
    runs = json.loads(file.read_text(encoding="utf-8"))
    return {
        run: {name: {int(size): value for size, value in curve.items()} for name, curve in found.items()}
        for run, found in runs.items()
    }


_STARTED = time.perf_counter()


def _say(line: str) -> None:
    click.echo(f"[{time.perf_counter() - _STARTED:6.0f} s] {line}", err=True)


if __name__ == "__main__":
    main()
