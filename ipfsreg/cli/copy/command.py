"""``ipfsreg copy``: images from one registry, layout or CAR to another."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ipfsreg.cli.command import fail, with_reactor
from ipfsreg.cli.errors import Exit
from ipfsreg.cli.terminal.declare import command
from ipfsreg.cli.terminal.output import Output
from ipfsreg.cli.terminal.text import counted, sized
from ipfsreg.flow.interrupt import interrupt_ends_at_once
from ipfsreg.registry.errors import RegistryError

from .places import PlaceType, Where, are_same

if TYPE_CHECKING:
    from ipfsreg.copying.tally import Tally

_JOBS = 8


@command(
    examples=[
        "ipfsreg copy https://old.example new.ini",
        "ipfsreg copy laptop.ini cluster.ini team/app team/tools",
        "ipfsreg copy hub.ini kubo.ini --dry-run",
        "ipfsreg copy localhost:5000 backup/ 'team/*' --tag 'v*'",
        "ipfsreg copy ipfsreg.ini images.car busybox:1.36",
        "ipfsreg copy docker.io localhost:5000 library/busybox:1.36=tools/busybox:stable",
        "ipfsreg copy registry.example ipfsreg.ini 'team/*' --to-prefix mirror",
    ],
    result=(
        "{dry_run, repositories, images, images_there, manifests, blobs, bytes, blobs_there, bytes_there, mounted, "
        "missing, views_refused, failed, failures: [{name, error}]}; how many of each, sizes in bytes"
    ),
)
@click.argument("source", type=PlaceType(), metavar="SOURCE")
@click.argument("destination", type=PlaceType(), metavar="DESTINATION")
@click.argument("names", nargs=-1, metavar="[REPOSITORY[:TAG|@DIGEST][=NEW[:TAG]]]...")
@click.option(
    "--tag", "patterns", multiple=True, metavar="PATTERN", help="Only these tags, such as 'v1.*'. May be given again."
)
@click.option("--to-prefix", "prefix", default="", metavar="NAME", help="Call each REPOSITORY NAME/REPOSITORY there.")
@click.option("--dry-run", is_flag=True, help="Only say what would be copied.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=_JOBS, show_default=True, help="Blobs that are moved at once."
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path, readable=False),
    help="A PEM file with the authorities that sign the registries' certificates, instead of the system's.",
)
def copy(
    source: Where,
    destination: Where,
    names: tuple[str, ...],
    patterns: tuple[str, ...],
    prefix: str,
    dry_run: bool,
    jobs: int,
    ca: Path | None,
    output: Output,
) -> None:
    """Copy images with all that belongs to them: what DESTINATION lacks, each blob once, and nothing twice.

    SOURCE and DESTINATION are each a registry's URL or HOST[:PORT], an ipfsreg.ini, a directory with an OCI image
    layout, or a CAR file FILE.car. (ini:FILE, oci:DIRECTORY and car:FILE say which it is whatever its name.) For an
    ipfsreg.ini, its daemon does the work where one runs.

    Without REPOSITORY it is all of them, as far as SOURCE tells which it has. * and ? may stand for any characters.
    After = is what to call an image at DESTINATION: its tag stays where no other is given.

    Everything is compared with its digest. Referrers, such as signatures, and manifests without a tag that indexes or
    referrers lead to come along. A copy that was interrupted goes on with what is missing when it is started again.
    Logins are those that `docker login` or `podman login` stored.
    """
    with interrupt_ends_at_once():
        from ipfsreg.copying.renaming import parse_names
        from ipfsreg.copying.tally import Tally

        from .opening import Copy

    try:
        if ca is not None:
            from ipfsreg.bucket.authorities import load_authorities

            load_authorities(ca)
        selected = parse_names(names, patterns, prefix)
    except (RegistryError, ValueError) as error:
        fail(str(error))
    if are_same(source, destination) and not all(naming.renames for _, naming in selected):
        raise click.UsageError("SOURCE and DESTINATION are the same")
    copying = Copy(source, destination, selected, ca, dry_run, jobs)
    tally = Tally()
    with output.progress("Copying", bytes_=True) as progress:
        total = 0

        def expected(amount: int) -> None:
            nonlocal total
            total += amount
            progress.expect(total)

        tally.moved, tally.expected = progress.advance, expected

        with_reactor(lambda reactor: copying.run(reactor, tally))
    _show(tally, output, dry_run=dry_run)


def _show(tally: "Tally", output: Output, *, dry_run: bool) -> None:
    for failure in tally.failures:
        output.note(f"ipfsreg: {failure['name']}: {failure['error']}")
    copied = tally.images - tally.images_there - tally.failed
    did = "Would copy" if dry_run else "Copied"
    lines = [
        f"{did} {counted(max(copied, 0), 'image')} of {counted(tally.images, 'image')} in "
        f"{counted(tally.repositories, 'repository')}: "
        f"{counted(tally.manifests, 'manifest')}, {counted(tally.blobs, 'blob')} with {sized(tally.bytes)}."
    ]
    if tally.images_there or tally.blobs_there or tally.mounted:
        lines.append(
            f"There already: {counted(tally.images_there, 'image')}, {counted(tally.blobs_there, 'blob')} with "
            f"{sized(tally.bytes_there)}; {counted(tally.mounted, 'blob')} taken from other repositories there."
        )
    if tally.missing:
        lines.append(f"Without {counted(tally.missing, 'manifest')} that indexes list and the source does not have.")
    if tally.views_refused:
        lines.append(
            f"Without {counted(tally.views_refused, 'IPFS-enabled view')}: the destination takes no ipfs:// URLs. "
            "They are made of the images, which were copied, and can be made anew."
        )
    if tally.failed:
        lines.append(f"{counted(tally.failed, 'image')} could not be copied.")
    output.show({"dry_run": dry_run} | tally.document, *lines)
    if tally.failed:
        sys.exit(Exit.PROBLEM)
