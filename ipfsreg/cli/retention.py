"""``ipfsreg retention``: the rules of ``[retention]``, tried or applied."""

from pathlib import Path
from typing import Any

import click

from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.names import parse_repository

from .command import ask, config_option, describe_storage, fail, load
from .terminal.declare import command
from .terminal.output import Output
from .terminal.table import Column, Table
from .terminal.text import counted


@command(
    examples=["ipfsreg retention --dry-run", "ipfsreg retention team/app"],
    result=(
        "{storage, dry_run, tags, deleted, repositories, verdicts: [{repository, tag, kept, reason}]}; verdicts with "
        "--dry-run"
    ),
)
@config_option
@click.option("--dry-run", is_flag=True, help="Only say what would become of each tag, and why.")
@click.argument("repository", required=False)
def retention(path: Path | None, dry_run: bool, repository: str | None, output: Output) -> None:
    """Delete the tags that no rule of [retention] keeps, in REPOSITORY or in all.

    A daemon does so by itself, once in [retention] interval. `ipfsreg gc` then frees what only those tags needed.
    """
    arguments = {} if repository is None else {"name": _name(repository)}
    if not load(path).retention.rules:
        fail("there are no rules: [retention] rules says which tags are kept; docs/retention.md has examples")
    if dry_run:
        _try(path, arguments, output)
        return
    with output.progress("Looking at tags") as progress:
        found = ask(path, "retention", arguments, quiet=True, progress=progress)
    storage = describe_storage(path)
    output.show(
        {"storage": storage, "dry_run": False} | found,
        f"This is about {storage}.",
        f"Deleted {counted(found['deleted'], 'tag')} of {found['tags']} that a rule is about. "
        "`ipfsreg gc` frees what only they needed.",
    )


def _try(path: Path | None, arguments: dict[str, str], output: Output) -> None:
    found: list[dict[str, Any]] = []
    with output.progress("Looking at tags") as progress:
        ask(path, "retention-verdicts", arguments, quiet=True, progress=progress, each=found.append)
    rows = (
        [f"{each['repository']}:{each['tag']}", "keep" if each["kept"] else "delete", each["reason"]] for each in found
    )
    document = {
        "storage": describe_storage(path),
        "dry_run": True,
        "tags": len(found),
        "deleted": sum(not each["kept"] for each in found),
        "repositories": len({each["repository"] for each in found}),
        "verdicts": found,
    }
    output.show(document, Table(["TAG", "VERDICT", Column("WHY", long=True)], rows))


def _name(text: str) -> str:
    try:
        return parse_repository(text)
    except RegistryError as error:
        fail(f"{text}: {error.message}")
