"""Commands that look after a registry: ``ipfsreg check``, ``gc`` and ``verify``."""

import sys
from pathlib import Path

import click
from pydantic import ByteSize

from ipfsreg.app.preflight import find_problem
from ipfsreg.config.file import find_config

from .command import EXIT_PROBLEM, ask, config_option, fail, load


@click.command()
@config_option
def check(path: Path | None) -> None:
    """Say OK, or what is wrong with the configuration file in one line (exit status 2)."""
    found = path or find_config()
    config = load(path, for_daemon=True)
    problem = find_problem(config)
    if problem is not None:
        fail(problem)
    if found:
        click.echo(f"OK: {found}")
    elif config.registry.backend == "local":
        click.echo("OK: no configuration file, the defaults run")
    else:
        click.echo(f"OK: no configuration file; by the environment the backend is {config.registry.backend}")


@click.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Only say what would be freed.")
@click.option("--now", is_flag=True, help="Ignore the grace period: also free what was used a moment ago.")
def gc(path: Path | None, dry_run: bool, now: bool) -> None:
    """Free what no tag leads to. Safe while clients push and pull."""
    arguments = {name: "1" for name, given in (("dry_run", dry_run), ("now", now)) if given}
    found = ask(path, "gc", arguments)
    did = "Would free" if dry_run else "Freed"
    click.echo(
        f"{did} {_in_bytes(found['freed'])}: {found['manifests']} manifests, {found['blob_links']} blobs of "
        f"repositories, {found['contents']} stored contents."
    )
    if found["skipped"]:
        click.echo(
            f"Nothing is collected from {', '.join(found['skipped'])}: something there is damaged; "
            "`ipfsreg verify` names it."
        )
    if found["waiting"]:
        click.echo(
            f"{found['waiting']} more are not needed but were used too recently ([gc] grace, untagged); "
            "they go later, or with --now as far as only the grace period keeps them."
        )


@click.command()
@config_option
def verify(path: Path | None) -> None:
    """Read everything that is stored and compare it with its digests (exit status 1 where something is wrong)."""
    found = ask(path, "verify")
    click.echo(f"Read {found['contents']} contents, {_in_bytes(found['bytes'])}.")
    for what, digests in (("damaged, moved to quarantine", "damaged"), ("missing", "missing")):
        for digest in found[digests]:
            click.echo(f"{digest} is {what}. Used by: {', '.join(found['images'].get(digest) or ['no image'])}")
    for unreadable in found["unreadable"]:
        click.echo(f"{unreadable} cannot be read.")
    for mended in found["mended"]:
        click.echo(f"{mended} was damaged, and has been written anew from what is whole.")
    if found["damaged"] or found["missing"] or found["unreadable"]:
        click.echo("Push one of the images again to heal it.")
        sys.exit(EXIT_PROBLEM)
    if found["mended"]:
        click.echo("Everything else is whole.")
        sys.exit(EXIT_PROBLEM)
    click.echo("Everything is whole.")


def _in_bytes(length: int) -> str:
    return str(ByteSize(length).human_readable())
