"""Commands that look after a registry: ``ipfsreg check``, ``gc``, ``verify`` and ``status``."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .command import ask, backend_of, config_option, describe_storage, fail, load
from .errors import Exit
from .terminal.declare import command
from .terminal.output import Output
from .terminal.text import counted, in_words, sized


class Time(click.ParamType):
    """A time as a configuration file has it, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        from pydantic import TypeAdapter, ValidationError

        from ipfsreg.config.kinds import Duration

        time: TypeAdapter[float] = TypeAdapter(Duration)
        try:
            return time.validate_python(value)
        except ValidationError as error:
            self.fail(error.errors()[0]["msg"].removeprefix("Value error, "), param, ctx)


@command(examples=["ipfsreg check", "ipfsreg check --config /etc/ipfsreg/ipfsreg.ini"], result="{file, backend}")
@config_option
def check(path: Path | None, output: Output) -> None:
    """Say OK, or what is wrong with the configuration file in one line (exit status 2)."""
    config = load(path, for_daemon=True)
    from ipfsreg.app.preflight import find_problem
    from ipfsreg.config.file import find_config

    found = path or find_config()
    problem = find_problem(config, backend_of(config))
    if problem is not None:
        fail(problem)
    if found:
        said = f"OK: {found}"
    elif config.registry.backend == "local":
        said = "OK: no configuration file, the defaults run"
    else:
        said = f"OK: no configuration file; by the environment the backend is {config.registry.backend}"
    output.show({"file": str(found) if found else None, "backend": config.registry.backend}, said)


@command(
    examples=["ipfsreg gc --dry-run", "ipfsreg gc --untagged 0"],
    result=(
        "{storage, dry_run, freed, manifests, blob_links, contents, untagged, untagged_for, used, "
        "used_within, skipped: [repository]}; sizes in bytes, times in seconds"
    ),
)
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
def gc(path: Path | None, dry_run: bool, untagged: float | None, now: bool, output: Output) -> None:
    """Free what no tag leads to. Safe while clients push and pull, but for --now."""
    arguments = {name: "1" for name, given in (("dry_run", dry_run), ("now", now)) if given}
    if untagged is not None:
        arguments["untagged"] = str(untagged)
    with output.progress("Collecting") as progress:
        found = ask(path, "gc", arguments, quiet=True, progress=progress)
    if untagged is not None:
        found["untagged_for"] = untagged
    storage = describe_storage(path)
    output.show({"storage": storage} | found, f"This is about {storage}.", *_collected(found))


def _collected(found: dict[str, Any]) -> Iterator[str]:
    did = "Would free" if found["dry_run"] else "Freed"
    yield (
        f"{did} {sized(found['freed'])}: {counted(found['manifests'], 'manifest')} and "
        f"{counted(found['blob_links'], 'blob')} taken out of their repositories, "
        f"{counted(found['contents'], 'file')} deleted that no repository needs any more."
    )
    if found["skipped"]:
        yield (
            f"Nothing is collected from {', '.join(found['skipped'])}: something there is damaged; "
            "`ipfsreg verify` names it."
        )
    if found["untagged"]:
        kept = found["untagged_for"]
        span = "until they are deleted" if kept is None else f"for {in_words(kept)}"
        yield (
            f"Kept for now: {counted(found['untagged'], 'manifest')} without a tag, which [gc] untagged keeps {span}. "
            "To free them: ipfsreg gc --untagged 0"
        )
    if found["used"]:
        yield (
            f"Kept for now: {counted(found['used'], 'thing')} that somebody pushed or asked for less than "
            f"{in_words(found['used_within'])} ago ([gc] grace) and may be about to use. Later runs free them. To free "
            "them while nobody pushes: ipfsreg gc --now"
        )


@command(
    examples=["ipfsreg verify", "ipfsreg verify --json"],
    result=(
        "{storage, whole, contents, bytes, damaged: [digest], missing: [digest], images: {digest: [image]}, "
        "unreadable: [line], mended: [path], strays: {path: what}, stopped_by}"
    ),
)
@config_option
def verify(path: Path | None, output: Output) -> None:
    """Read everything that is stored and compare it with its digests (exit status 1 where something is wrong)."""
    with output.progress("Verifying") as progress:
        found = ask(path, "verify", quiet=True, progress=progress)
    problems = [found[kind] for kind in ("damaged", "missing", "unreadable", "stopped_by", "mended", "strays")]
    storage = describe_storage(path)
    document = {"storage": storage, "whole": not any(problems)} | found
    output.show(document, f"This is about {storage}.", *_verified(found, whole=not any(problems)))
    if any(problems):
        sys.exit(Exit.PROBLEM)


def _verified(found: dict[str, Any], *, whole: bool) -> Iterator[str]:
    yield f"Read {found['contents']} contents, {sized(found['bytes'])}."
    for what, digests in (("damaged, moved to quarantine", "damaged"), ("missing", "missing")):
        for digest in found[digests]:
            yield f"{digest} is {what}. Used by: {', '.join(found['images'].get(digest) or ['no image'])}"
    for unreadable in found["unreadable"]:
        yield f"Cannot be read: {unreadable}"
    for mended in found["mended"]:
        yield f"{mended} was damaged, and has been written anew from what is whole."
    for stray, what in found["strays"].items():
        yield f"{stray} is {what} that does not belong in the bucket: look at it, and remove it."
    if found["stopped_by"]:
        yield f"The rest was not looked at: {found['stopped_by']}."
    if found["damaged"] or found["missing"] or found["unreadable"]:
        yield "Push one of the images again to heal it."
    elif whole:
        yield "Everything is whole."
    elif not found["stopped_by"]:
        yield "Everything else is whole."


@command(
    examples=["ipfsreg status", "ipfsreg status --json"],
    result=(
        "{storage, backend, daemon: {pid, started, version}, read_only, repositories, used, counted, uploads: "
        "{count, bytes}, garbage: {bytes, manifests, contents, skipped}, error}; daemon is null where none "
        "runs, and garbage where it takes long to find out"
    ),
)
@config_option
def status(path: Path | None, output: Output) -> None:
    """Show what runs, what is used, and what could be freed (exit status 5 where the storage does not answer)."""
    with output.progress("Looking"):
        found = ask(path, "status", quiet=True)
    storage = describe_storage(path)
    output.show({"storage": storage, "backend": load(path).registry.backend} | found, *_told(storage, found))
    if found["error"]:
        sys.exit(Exit.UNAVAILABLE)


def _told(storage: str, found: dict[str, Any]) -> Iterator[str]:
    daemon, garbage, uploads = found["daemon"], found["garbage"], found["uploads"]
    runs = daemon and f"{daemon['version']}, process {daemon['pid']}, since {daemon['started']}"
    yield f"Daemon:        {runs or 'none runs'}"
    yield f"Storage:       {storage}"
    if found["read_only"]:
        yield f"               {found['read_only']}"
    if found["error"]:
        yield f"               {found['error']}"
    if found["repositories"] is not None:
        yield f"Repositories:  {found['repositories']}"
    if found["used"] is not None:
        at_least = "" if found["counted"] else "at least "
        used = f"{at_least}{sized(found['used'])}" if found["counted"] or found["used"] else "not counted yet"
        yield f"Used:          {used}"
    yield f"Uploads:       {uploads['count']} unfinished, {sized(uploads['bytes'])}"
    if garbage is not None:
        yield f"Garbage:       gc would free {sized(garbage['bytes'])} in {counted(garbage['contents'], 'file')}"
    elif not (found["read_only"] or found["error"]):
        yield "Garbage:       `ipfsreg gc --dry-run` finds out, which takes some time"
