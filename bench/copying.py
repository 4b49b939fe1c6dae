"""``python -m bench.copying``: `ipfsreg copy` beside `skopeo sync` and `regsync`, for the same work.

The source has one collection after the other: none, which shows what a program's start takes, few and many images of
small layers, and a few of large ones. In each round each program in turn copies all of a collection to a registry that
has nothing, then does so again, when there is nothing left to do. None of them is asked for referrers, which there are
none of; `ipfsreg copy` looks for them all the same. What arrived is compared byte by byte.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click

from tests.clients.images import Image, make_image
from tests.clients.programs import TOOLS
from tests.copying.collection import Collection, Http

from . import report
from .errors import BenchError
from .figures import Aim, Figure
from .registries import KNOWN, running

_OURS = "ipfsreg copy"
_WITHIN = 600.0
_PARALLEL = 8


@dataclass(frozen=True)
class Program:
    """A program that copies: ``command`` gets two hosts, the repositories, and a directory for what it needs."""

    name: str
    command: Callable[[str, str, list[str], Path], list[str]]


def _ipfsreg(source: str, destination: str, repositories: list[str], directory: Path) -> list[str]:
    return [str(Path(sys.executable).with_name("ipfsreg")), "copy", source, destination]


def _skopeo(source: str, destination: str, repositories: list[str], directory: Path) -> list[str]:
    file = directory / "skopeo.yaml"
    images = "".join(f"    {each}: []\n" for each in repositories)
    file.write_text(f"'{source}':\n  tls-verify: false\n  images:\n{images}")
    options = ["--all", "--preserve-digests", "--src", "yaml", "--dest", "docker", "--dest-tls-verify=false"]
    return [_found("skopeo"), "sync", *options, str(file), destination]


def _regsync(source: str, destination: str, repositories: list[str], directory: Path) -> list[str]:
    file = directory / "regsync.yaml"
    login = {"tls": "disabled", "reqConcurrent": _PARALLEL}
    document = {
        "version": 1,
        "creds": [{"registry": each, **login} for each in (source, destination)],
        "defaults": {"parallel": _PARALLEL},
        "sync": [{"source": source, "target": destination, "type": "registry"}],
    }
    file.write_text(json.dumps(document))  # which is YAML too
    return [_found("regsync"), "once", "--config", str(file)]


def _found(name: str) -> str:
    found = shutil.which(name, path=f"{TOOLS / 'bin'}:{os.environ.get('PATH', '')}")
    if found is None:
        raise BenchError(f"{name} is not installed (.ci/install-programs installs it)")
    return found


PROGRAMS = (Program(_OURS, _ipfsreg), Program("skopeo sync", _skopeo), Program("regsync", _regsync))


@dataclass(frozen=True)
class Size:
    """A collection to copy; ``layer`` is the bytes of each layer."""

    name: str
    images: int
    repositories: int
    layers: int
    layer: int


SIZES = {
    "start": Size("no images", 0, 0, 0, 0),
    "few": Size("20 images of 3 layers of 64 KiB", 20, 5, 3, 64 * 1024),
    "many": Size("500 images of 3 layers of 8 KiB", 500, 10, 3, 8 * 1024),
    "large": Size("3 images of 3 layers of 25 MiB", 3, 2, 3, 25 * 1024**2),
    "huge": Size("2 images of 4 layers of 256 MiB", 2, 1, 4, 256 * 1024**2),
}
QUICK = {
    "start": SIZES["start"],
    "few": Size("6 images of 3 layers of 64 KiB", 6, 3, 3, 64 * 1024),
    "large": Size("2 images of 3 layers of 1 MiB", 2, 2, 3, 1024**2),
}


def make_images(images: int, repositories: int, layers: int, layer: int) -> Collection:
    """So many images in so many repositories; each has a layer in common with all, and the others for itself."""
    made, base = Collection(), _layer(layer)
    for number in range(images):
        image: Image = make_image([base, *(_layer(layer) for _ in range(layers - 1))], comment=str(number))
        made.add_image(f"r{number % repositories}", image, f"t{number // repositories}")
    return made


def _layer(size: int) -> tuple[bytes, str]:
    return os.urandom(size), "sha256:" + "0" * 64


def measure(size: Size, source: str, destination: str, rounds: int, directory: Path) -> list[Figure]:
    """Have each program copy a collection, and once more."""
    what, collection = size.name, make_images(size.images, size.repositories, size.layers, size.layer)
    aim = Aim(ratio=1.0)
    took = Figure(f"{what}: all of it", "s", higher_is_better=False, aim=aim)
    cpu = Figure(f"{what}: all of it, CPU", "s", higher_is_better=False)
    again = Figure(f"{what}: nothing to do", "s", higher_is_better=False, aim=aim)
    cpu_again = Figure(f"{what}: nothing to do, CPU", "s", higher_is_better=False)
    memory = Figure(f"{what}: peak memory", "MiB", higher_is_better=False)
    repositories = sorted(collection.blobs)
    with running(KNOWN[source], directory / "source") as held:
        Http(held.port).push(collection)
        for number in range(rounds):
            for program in PROGRAMS[number % len(PROGRAMS) :] + PROGRAMS[: number % len(PROGRAMS)]:
                home = directory / f"{number}-{program.name.split()[0]}"
                with running(KNOWN[destination], home) as to:
                    hosts = (f"127.0.0.1:{held.port}", f"127.0.0.1:{to.port}")
                    command = program.command(*hosts, repositories, home)
                    seconds, used, peak = _run(command, home)
                    took.add(program.name, seconds)
                    cpu.add(program.name, used)
                    memory.add(program.name, peak)
                    seconds_again, used_again, _ = _run(command, home)
                    again.add(program.name, seconds_again)
                    cpu_again.add(program.name, used_again)
                    Http(to.port).check(collection)
                shutil.rmtree(home)
                told = f"{seconds:.2f} (CPU {used:.2f}) and {seconds_again:.2f} s (CPU {used_again:.2f})"
                click.echo(f"{what}, round {number + 1}: {program.name} {told}", err=True)
    shutil.rmtree(directory / "source")
    return [took, cpu, again, cpu_again, memory] if size.images else [again, cpu_again]


def _run(command: list[str], home: Path) -> tuple[float, float, float]:
    """Wall clock and CPU in seconds, and peak memory in MiB."""
    with (home / "printed.txt").open("wb") as printed:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, cwd=home)
        late = threading.Timer(_WITHIN, process.kill)
        peak = _Peak(process.pid)
        for each in (late, peak):
            each.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
        except BaseException:
            process.kill()
            raise
        finally:
            late.cancel()
            peak.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = (home / "printed.txt").read_text(errors="replace")[-1000:]
        raise BenchError(f"{command[0]} ended with {process.returncode}: {said}")
    return seconds, used.ru_utime + used.ru_stime, peak.mebibytes


class _Peak(threading.Thread):
    """The most memory that a process has had; what `wait4` tells begins with that of who started it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._file = Path(f"/proc/{pid}/status")
        self.mebibytes = 0.0

    def run(self) -> None:
        """Look until the process is gone."""
        with suppress(OSError):
            while found := re.search(r"VmHWM:\s+(\d+) kB", self._file.read_text()):
                self.mebibytes = int(found[1]) / 1024
                time.sleep(0.02)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes: shows that everything works, its figures say nothing.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--size", "named", multiple=True, type=click.Choice(list(SIZES)), help="Only these collections.")
@click.option("--from", "source", default="docker-registry", show_default=True, type=click.Choice(sorted(KNOWN)))
@click.option("--to", default="ipfsreg", show_default=True, type=click.Choice(sorted(KNOWN)), help="The destination.")
@click.option("--dir", "parent", type=click.Path(path_type=Path, file_okay=False, exists=True), help="For all data.")
def main(quick: bool, rounds: int, named: tuple[str, ...], source: str, to: str, parent: Path | None) -> None:
    """Copy the same images by three programs, and print medians (least to most) and ratios."""
    signal.signal(signal.SIGTERM, _end)
    sizes = [size for name, size in (QUICK if quick else SIZES).items() if not named or name in named]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="ipfsreg-bench-", dir=parent, ignore_cleanup_errors=True) as directory:
        try:
            for size in sizes:
                figures += measure(size, source, to, rounds, Path(directory))
        except BenchError as error:
            raise click.ClickException(str(error)) from error
    click.echo(report.table(figures, [program.name for program in PROGRAMS], _OURS))


if __name__ == "__main__":
    main()
