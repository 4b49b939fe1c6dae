"""``ipfsreg retention``: the rules of ``[retention]``, tried or applied."""

import sys
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
    storage = describe_storage(path)
    found: list[dict[str, Any]] = []
    tags = deleted = 0
    by_row = not output.as_json and not sys.stdout.isatty()

    def each(verdict: dict[str, Any]) -> None:
        nonlocal tags, deleted
        tags += 1
        deleted += not verdict["kept"]
        if by_row:
            output.row(_row(verdict))
        else:
            found.append(verdict)

    with output.progress("Looking at tags") as progress:
        ask(path, "retention-verdicts", arguments, quiet=True, progress=None if by_row else progress, each=each)
    if not by_row:
        repositories = len({verdict["repository"] for verdict in found})
        document = {"storage": storage, "dry_run": True, "tags": tags, "deleted": deleted, "repositories": repositories}
        table = Table(["TAG", "VERDICT", Column("WHY", long=True)], map(_row, found))
        output.show(document | {"verdicts": found}, table)
    output.note(f"Of {counted(tags, 'tag')} {deleted} would be deleted.")


def _row(verdict: dict[str, Any]) -> list[str]:
    name = f"{verdict['repository']}:{verdict['tag']}"
    return [name, "keep" if verdict["kept"] else "delete", verdict["reason"]]


def _name(text: str) -> str:
    try:
        return parse_repository(text)
    except RegistryError as error:
        fail(f"{text}: {error.message}")
