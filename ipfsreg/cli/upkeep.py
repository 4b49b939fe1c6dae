"""Commands that look after a registry: ``ipfsreg check``, ``gc`` and ``verify``."""

import sys
from pathlib import Path
from typing import Any

import click
from pydantic import ByteSize, TypeAdapter, ValidationError

from ipfsreg.app.preflight import find_problem
from ipfsreg.config.file import find_config
from ipfsreg.config.kinds import Duration

from .command import EXIT_PROBLEM, ask, backend_of, config_option, describe_storage, fail, load

_TIME: TypeAdapter[float] = TypeAdapter(Duration)


class Time(click.ParamType):
    """A time as a configuration file has it, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        try:
            return _TIME.validate_python(value)
        except ValidationError as error:
            self.fail(error.errors()[0]["msg"].removeprefix("Value error, "), param, ctx)


@click.command()
@config_option
def check(path: Path | None) -> None:
    """Say OK, or what is wrong with the configuration file in one line (exit status 2)."""
    found = path or find_config()
    config = load(path, for_daemon=True)
    problem = find_problem(config, backend_of(config))
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
@click.option(
    "--untagged",
    type=Time(),
    help="How long manifests without a tag are kept in this run, instead of [gc] untagged: 0 frees what lost its tag.",
)
@click.option(
    "--now", is_flag=True, help="Ignore [gc] grace: also free what was used a moment ago. Only while nobody pushes."
)
def gc(path: Path | None, dry_run: bool, untagged: float | None, now: bool) -> None:
    """Free what no tag leads to. Safe while clients push and pull, but for --now."""
    arguments = {name: "1" for name, given in (("dry_run", dry_run), ("now", now)) if given}
    if untagged is not None:
        arguments["untagged"] = str(untagged)
    found = ask(path, "gc", arguments, quiet=True)
    click.echo(f"This is about {describe_storage(path)}.")
    did = "Would free" if dry_run else "Freed"
    click.echo(
        f"{did} {_in_bytes(found['freed'])}: {_count(found['manifests'], 'manifest')} and "
        f"{_count(found['blob_links'], 'blob')} taken out of their repositories, {_count(found['contents'], 'file')} "
        "deleted that no repository needs any more."
    )
    if found["skipped"]:
        click.echo(
            f"Nothing is collected from {', '.join(found['skipped'])}: something there is damaged; "
            "`ipfsreg verify` names it."
        )
    if found["untagged"]:
        kept = found["untagged_for"] if untagged is None else untagged
        span = "until they are deleted" if kept is None else f"for {_in_words(kept)}"
        click.echo(
            f"Kept for now: {_count(found['untagged'], 'manifest')} without a tag, which [gc] untagged keeps {span}. "
            "To free them: ipfsreg gc --untagged 0"
        )
    if found["used"]:
        click.echo(
            f"Kept for now: {_count(found['used'], 'thing')} that somebody pushed or asked for in the last "
            f"{_in_words(found['used_within'])} ([gc] grace) and may be about to use. Later runs free them. To free "
            "them while nobody pushes: ipfsreg gc --now"
        )


@click.command()
@config_option
def verify(path: Path | None) -> None:
    """Read everything that is stored and compare it with its digests (exit status 1 where something is wrong)."""
    found = ask(path, "verify", quiet=True)
    click.echo(f"This is about {describe_storage(path)}.")
    click.echo(f"Read {found['contents']} contents, {_in_bytes(found['bytes'])}.")
    for what, digests in (("damaged, moved to quarantine", "damaged"), ("missing", "missing")):
        for digest in found[digests]:
            click.echo(f"{digest} is {what}. Used by: {', '.join(found['images'].get(digest) or ['no image'])}")
    for unreadable in found["unreadable"]:
        click.echo(f"Cannot be read: {unreadable}")
    for mended in found["mended"]:
        click.echo(f"{mended} was damaged, and has been written anew from what is whole.")
    for stray, what in found["strays"].items():
        click.echo(f"{stray} is {what} that does not belong in the bucket: look at it, and remove it.")
    if found["stopped_by"]:
        click.echo(f"The rest was not looked at: {found['stopped_by']}.")
    if found["damaged"] or found["missing"] or found["unreadable"]:
        click.echo("Push one of the images again to heal it.")
        sys.exit(EXIT_PROBLEM)
    if found["stopped_by"]:
        sys.exit(EXIT_PROBLEM)
    if found["mended"] or found["strays"]:
        click.echo("Everything else is whole.")
        sys.exit(EXIT_PROBLEM)
    click.echo("Everything is whole.")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _in_words(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length and seconds % length == 0:
            return _count(int(seconds // length), unit)
    return f"{seconds:g} seconds"


def _in_bytes(length: int) -> str:
    return str(ByteSize(length).human_readable())
