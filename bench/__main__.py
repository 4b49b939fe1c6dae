"""``python -m bench``: measure this registry beside others, and print a table (see README.md)."""

import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

import click

from . import machine, report
from .errors import BenchError
from .figures import Figure
from .lab import Lab
from .registries import IPFSREG, KNOWN, Registry, checkout_of, peer
from .scale import FULL, QUICK
from .scenarios import SCENARIOS


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)  # an exception, so that everything that was started is stopped on the way out


def _peers(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[Registry]:
    found = []
    for value in values:
        name, equals, template = value.partition("=")
        if not equals or not name:
            raise click.BadParameter("NAME=COMMAND is wanted, with {port} and {dir} in COMMAND")
        try:
            found.append(peer(name, template))
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return found


def _checkouts(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[Registry]:
    found = []
    for value in values:
        name, _, directory = value.rpartition("=")
        try:
            found.append(checkout_of(name or Path(directory).absolute().name, Path(directory)))
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return found


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes: shows that everything works, its figures say nothing.")
@click.option("--only", "wanted", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only these scenarios.")
@click.option(
    "--registry",
    "known",
    multiple=True,
    type=click.Choice(list(KNOWN)),
    default=list(KNOWN),
    show_default=True,
    help="Which of the known registries to run; aims are judged by the first that is not ipfsreg.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="NAME=COMMAND",
    callback=_peers,
    help="Another registry, as a command line with {port} and {dir} in it.",
)
@click.option(
    "--peer-checkout",
    "checkouts",
    multiple=True,
    metavar="[NAME=]DIR",
    callback=_checkouts,
    help="Another checkout of ipfsreg with a .venv of its own, to see before and after in one run.",
)
@click.option("--dir", "parent", type=click.Path(path_type=Path, file_okay=False, exists=True), help="For all data.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all samples here.")
def main(
    quick: bool,
    wanted: tuple[str, ...],
    known: tuple[str, ...],
    peers: list[Registry],
    checkouts: list[Registry],
    parent: Path | None,
    json_file: Path | None,
) -> None:
    """Run this registry and others side by side and print medians (least to most) and ratios.

    Every registry runs on 127.0.0.1 with a private directory below --dir (by default the system's directory
    for temporary files), which should be on the disk that matters: a full run needs 15 GiB there for each two
    registries, and 10 to 15 minutes.
    """
    signal.signal(signal.SIGTERM, _end)
    registries = [*(KNOWN[name] for name in dict.fromkeys(known)), *peers, *checkouts]
    names = [registry.name for registry in registries]
    if len(set(names)) != len(names):
        raise click.UsageError("two registries have the same name")
    started = time.perf_counter()

    def say(line: str) -> None:
        click.echo(f"[{time.perf_counter() - started:6.0f} s] {line}", err=True)

    figures: dict[str, list[Figure]] = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ipfsreg-bench-", dir=parent, ignore_cleanup_errors=True) as directory:
        described = machine.describe(Path(directory))
        versions = {registry.name: registry.version() for registry in registries}
        lab = Lab(registries, QUICK if quick else FULL, Path(directory), say)
        for name in wanted or SCENARIOS:
            try:
                figures[name] = SCENARIOS[name](lab)
            except BenchError as error:
                failed.append(f"{name}: {error}")
                say(failed[-1])

    everything = [figure for found in figures.values() for figure in found]
    for what, value in {**described, **versions}.items():
        click.echo(f"{what}: {value}")
    click.echo()
    of_registries = [figure for figure in everything if "machine" not in figure.samples]
    click.echo(report.table(of_registries, names, IPFSREG.name))
    of_machine = [figure for figure in everything if "machine" in figure.samples]
    if of_machine:
        click.echo()
        click.echo(report.table(of_machine, ["machine"], IPFSREG.name))
    click.echo()
    for line in report.notes(everything):
        click.echo(f"- {line}")
    if quick:
        click.echo("- small sizes (--quick): these figures show that it works, and nothing else")
    if json_file is not None:
        document = {
            "quick": quick,
            "machine": described,
            "registries": versions,
            "figures": {name: [figure.as_json() for figure in found] for name, found in figures.items()},
        }
        report.write_json(json_file, document)
    if failed:
        raise click.ClickException("; ".join(failed))


if __name__ == "__main__":
    main()
