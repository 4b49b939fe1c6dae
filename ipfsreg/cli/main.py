"""The ``ipfsreg`` command: checks a configuration, and has the registry do what its protocol has no word for."""

import sys
from pathlib import Path

import click
from pydantic import ByteSize

from ipfsreg import __version__
from ipfsreg.app.state_directory import StateDirectory
from ipfsreg.bucket.backends import BACKENDS
from ipfsreg.config.file import find_config
from ipfsreg.registry import layout
from ipfsreg.registry.errors import NameInvalid, RegistryError
from ipfsreg.registry.names import parse_reference, parse_repository

from .command import EXIT_PROBLEM, fail, load, options_of, run, run_again, run_alone
from .command_line import CommandLine
from .images import make_image_commands

config_option = click.option(
    "--config",
    "-c",
    "path",
    type=click.Path(path_type=Path),
    help="The configuration file; without it ./ipfsreg.ini, the user's and the system's are looked for.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ipfsreg")
def main() -> None:
    """Look after an ipfsreg registry. The daemon itself is started with `twistd -n ipfsreg`.

    Where the daemon runs, it is asked to do the work; else the command does it itself.
    """


@main.command()
@config_option
def check(path: Path | None) -> None:
    """Say OK, or what is wrong with the configuration file in one line (exit status 2)."""
    found = path or find_config()
    config = load(path, for_daemon=True)
    problem = StateDirectory.of(config.backend).problem()
    if problem is not None:
        fail(f"{found or 'configuration'}: [{config.registry.backend}] {config.backend.directory_option}: {problem}")
    if found:
        click.echo(f"OK: {found}")
    elif config.registry.backend == "local":
        click.echo("OK: no configuration file, the defaults run")
    else:
        click.echo(f"OK: no configuration file; by the environment the backend is {config.registry.backend}")


@main.command()
@config_option
@click.option("--dry-run", is_flag=True, help="Only say what would be freed.")
@click.option("--now", is_flag=True, help="Ignore the grace period: also free what was used a moment ago.")
def gc(path: Path | None, dry_run: bool, now: bool) -> None:
    """Free what no tag leads to. Safe while clients push and pull."""
    arguments = {name: "1" for name, given in (("dry_run", dry_run), ("now", now)) if given}
    found = run(path, "gc", arguments)
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


@main.command()
@config_option
def verify(path: Path | None) -> None:
    """Read everything that is stored and compare it with its digests (exit status 1 where something is wrong)."""
    found = run(path, "verify", {})
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


@main.command()
@config_option
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
@click.option("--blobs", is_flag=True, help="Also those of its config, layers and manifests, with digest and length.")
def cid(path: Path | None, name: str, blobs: bool) -> None:
    """Print the CID of an image's manifest.

    It is the one that `ipfs add` gives with the profile unixfs-v1-2025.
    """
    try:
        parse_reference(name)
    except RegistryError as error:
        fail(f"{name}: {error.message}")
    found = run(path, "cid", {"name": name} | ({"parts": "1"} if blobs else {}))["parts"]
    if not blobs:
        click.echo(found[0]["cid"])
        return
    for part in found:
        if part["cid"] is None:
            click.echo(f"{'not here':59}  {part['digest']}")
        else:
            click.echo(f"{part['cid']:59}  {part['digest']}  {part['size']}")


def _in_bytes(length: int) -> str:
    return str(ByteSize(length).human_readable())


def _repository_directories(name: str) -> list[str]:
    try:
        return layout.directories_of(parse_repository(name))
    except NameInvalid as error:
        raise ValueError(error.message) from None


for _command in make_image_commands(config_option):
    main.add_command(_command)

_line = CommandLine(run, run_again, config_option, _repository_directories, options_of, run_alone)
for _backend in BACKENDS.values():
    if _backend.commands is not None:
        for _command in _backend.commands(_line):
            main.add_command(_command)
