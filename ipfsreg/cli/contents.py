"""Commands about what a registry has: ``ipfsreg ls``, ``tags``, ``inspect`` and ``rm``."""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from ipfsreg.flow.progress import size_text
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.names import parse_repository

from .command import Elsewhere, ask, config_option, fail, image_argument, image_name, load, registry_option
from .errors import Exit
from .terminal.declare import command
from .terminal.output import Output
from .terminal.table import Cell, Column, Table
from .terminal.text import ago, counted, sized

long_option = click.option("--long", "-l", "long", is_flag=True, help="Look at each, and show more: takes longer.")

_SIZE = Column("SIZE", right=True)
_DIGEST = Column("DIGEST", long=True)


@command(
    examples=["ipfsreg ls", "ipfsreg ls --long", "ipfsreg ls --registry https://registry.example"],
    result="{repositories: [{name, tags, size}]}; tags and size with --long, size in bytes or null",
)
@config_option
@registry_option
@long_option
def ls(path: Path | None, elsewhere: Elsewhere | None, long: bool, output: Output) -> None:
    """List the repositories that have an image, in the order of their names.

    With --long also how many tags each has, and what it uses: what it shares with others counts for each.
    """
    table = [Column("REPOSITORY"), Column("TAGS", right=True), _SIZE] if long else None

    def row(each: dict[str, Any]) -> Sequence[Cell]:
        return [each["name"], each["tags"], _size(each["size"])] if long else [each["name"]]

    asking = partial(ask, path, "ls", {"long": "1"} if long else {}, elsewhere=elsewhere)
    _list(output, {}, "repositories", table, row, asking)


@command(
    examples=["ipfsreg tags team/app", "ipfsreg tags team/app --long", "ipfsreg tags team/app --json"],
    result=("{repository, tags: [{tag, digest, artifact_type, size, platforms, created}]}; all but tag with --long"),
)
@config_option
@registry_option
@long_option
@click.argument("repository")
def tags(path: Path | None, elsewhere: Elsewhere | None, long: bool, repository: str, output: Output) -> None:
    """List the tags of REPOSITORY. With --long also what each is: digest, size, age and platforms."""
    name = _repository_name(path, repository, elsewhere)
    table = [Column("TAG"), _SIZE, Column("CREATED"), Column("PLATFORMS"), _DIGEST] if long else None
    lacking = "damaged or missing" + (": run `ipfsreg verify`" if elsewhere is None else "")

    def row(each: dict[str, Any]) -> Sequence[Cell]:
        if not long:
            return [each["tag"]]
        created = ago(each["created"]) if sys.stdout.isatty() else each["created"]
        platforms = ",".join(each["platforms"]) or each["artifact_type"]
        return [each["tag"], _size(each["size"]), created, platforms, each["digest"] or lacking]

    asking = partial(ask, path, "tags", {"name": name} | ({"long": "1"} if long else {}), elsewhere=elsewhere)
    _list(output, {"repository": name}, "tags", table, row, asking)


def _list(
    output: Output,
    document: dict[str, Any],
    field: str,
    table: Sequence[Column] | None,
    row: Callable[[dict[str, Any]], Sequence[Cell]],
    asking: Callable[..., Any],
) -> None:
    """Show what `ask` lists: as it comes where rows go to a pipe or have no columns, else when all of it is there."""
    if not output.as_json and (table is None or not sys.stdout.isatty()):
        asking(each=lambda each: output.row(row(each)))
        return
    found: list[dict[str, Any]] = []
    with output.progress("Listing") as progress:
        asking(progress=progress, each=found.append)
    output.show(document | {field: found}, Table(table or [], map(row, found)))


@command(
    examples=["ipfsreg inspect team/app:1.2", "ipfsreg inspect busybox --registry https://registry.example --json"],
    result=(
        "{name, digest, media_type, size, cid, artifact_type, subject, annotations, platforms: [{digest, "
        "media_type, size, cid, platform, present, created, total_size, config: {digest, media_type, size, "
        "cid}, layers: [{digest, media_type, size, cid}], history: [{created, created_by, comment, "
        "empty_layer}]}], referrers: [{digest, artifact_type, size, annotations}], more_referrers}"
    ),
)
@config_option
@registry_option
@image_argument
def inspect(path: Path | None, elsewhere: Elsewhere | None, name: str, output: Output) -> None:
    """Show an image: its platforms, layers with sizes, history, CIDs, and what refers to it."""
    name = image_name(path, name, elsewhere)
    with output.progress("Reading"):
        found = ask(path, "inspect", {"name": name}, elsewhere=elsewhere)
    encrypted = elsewhere is None and load(path).encryption.enabled
    output.show(
        found,
        *_image(found, "none, in an encrypted bucket" if encrypted else "not known yet; `ipfsreg cid` computes it"),
    )


@command(
    examples=[
        "ipfsreg rm team/app:1.2",
        "ipfsreg rm team/app@sha256:… --yes",
        "ipfsreg rm team/app --all --yes",
    ],
    result="{name, tags, manifests}; how many went, null where that is not known",
)
@config_option
@registry_option
@click.option("--all", "whole", is_flag=True, help="The whole repository, with all tags and manifests.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
def rm(path: Path | None, elsewhere: Elsewhere | None, whole: bool, yes: bool, name: str, output: Output) -> None:
    """Delete a tag, or a manifest by its digest with all its tags; with --all a whole repository.

    `ipfsreg gc` then frees what nothing needs any more. Elsewhere, --all deletes what a tag leads to.
    """
    if whole:
        given = _repository_name(path, name, elsewhere)
        what, arguments = f"all of the repository {given}", {"repository": given}
    else:
        given = image_name(path, name, elsewhere)
        if "@" not in given and ":" not in given:
            fail(f"{given} has no tag: name one, such as {given}:latest, or say --all for the whole repository")
        what, arguments = given, {"name": given}
    if not yes and not _confirmed(f"Delete {what}?"):
        fail(f"{given} was not deleted: say --yes", Exit.PROBLEM)
    with output.progress("Deleting") as progress:
        found = ask(path, "rm", arguments, elsewhere=elsewhere, progress=progress)
    counts = [(found["tags"], "tag"), (found["manifests"], "manifest")]
    said = " and ".join(counted(number, kind) for number, kind in counts if number)
    output.show({"name": given} | found, f"Deleted {what}: {said or 'nothing was there'}.")


def _confirmed(question: str) -> bool:
    """Ask on a terminal. Elsewhere nobody can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty() and click.confirm(question, err=True)


def _repository_name(path: Path | None, given: str, elsewhere: Elsewhere | None) -> str:
    name = image_name(path, given, elsewhere)
    try:
        return parse_repository(name)
    except RegistryError:
        fail(f"{given}: name the repository alone, without a tag or digest")


def _image(found: dict[str, Any], no_cid: str) -> Iterator[str | Table]:
    yield f"Name:      {found['name']}"
    yield f"Digest:    {found['digest']}"
    yield f"Type:      {found['media_type']}"
    if found["artifact_type"]:
        yield f"Artifact:  {found['artifact_type']}"
    yield f"CID:       {found['cid'] or no_cid}"
    if found["subject"]:
        yield f"Refers to: {found['subject']}"
    for name, value in sorted(found["annotations"].items()):
        yield f"           {name}: {value}"
    for platform in found["platforms"]:
        yield ""
        yield from _platform(platform)
    if found["referrers"]:
        yield ""
        yield "Referrers:" + (" (there are more)" if found["more_referrers"] else "")
        rows = ([each["artifact_type"], _size(each["size"]), each["digest"]] for each in found["referrers"])
        yield Table(["KIND", _SIZE, _DIGEST], rows)


def _platform(found: dict[str, Any]) -> Iterator[str | Table]:
    yield f"Platform:  {found['platform'] or 'unknown'}"
    yield f"  Digest:  {found['digest']}"
    if not found["present"]:
        yield "  It is not here."
        return
    yield f"  CID:     {found['cid'] or '-'}"
    if found["created"]:
        yield f"  Created: {found['created']}"
    yield f"  Size:    {sized(found['total_size'])}"
    if found["layers"]:
        yield Table(
            ["LAYER", _SIZE, _DIGEST, Column("CID", long=True)],
            (
                [str(number), _size(each["size"]), each["digest"], each["cid"]]
                for number, each in enumerate(found["layers"], 1)
            ),
        )
    if found["history"]:
        yield "  History:"
        for step in found["history"]:
            yield f"    {' '.join((step['created_by'] or step['comment'] or '-').split())}"


def _size(size: int | None) -> str | None:
    """For people in units, and for programs in bytes."""
    if size is None:
        return None
    return size_text(size) if sys.stdout.isatty() else str(size)
