"""The commands of the Textile backend: ``ipfsreg identity``, ``ipfsreg share`` and ``ipfsreg archive``."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipfsreg.bucket.errors import SetupError
from ipfsreg.registry.errors import NameInvalid
from ipfsreg.registry.names import parse_repository

from .command import ask_server, config_option, fail, in_one_line, need_backend, with_registry
from .errors import Exit
from .terminal.declare import group
from .terminal.output import Output
from .terminal.text import printable

if TYPE_CHECKING:
    from .access import RegistryAccess

_ARCHIVES = (
    "{buckets: [{bucket, current, history: [archive]}]}; an archive, as current is one or null, is {cid, state, "
    "created, failure, deals: [{miner, deal, state, message}]}"
)
_BAD = {"failed", "canceled"}


class PublicKey(click.ParamType):
    """A public key string, or ``*``."""

    name = "public key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        from ipfsreg.bucket.textile.server.identity import check_public_key
        from ipfsreg.bucket.textile.sharing import EVERYBODY

        if value == EVERYBODY:
            return EVERYBODY
        try:
            return check_public_key(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


file_argument = click.argument("file", type=click.Path(dir_okay=False, readable=False, path_type=Path))


@group
def identity() -> None:
    """Make and show the key pair by which a Textile server knows this daemon."""


@identity.command(examples=["ipfsreg identity make /var/lib/ipfsreg/identity"], result="{file, public_key}")
@file_argument
def make(file: Path, output: Output) -> None:
    """Make a new key pair in FILE, and print its public key.

    Who makes a bucket owns it, and nobody else can push to it: daemons on one bucket share one FILE, which is what
    [textile] identity_file names. It holds the private key: keep it secret, and keep a copy.
    """
    from ipfsreg.bucket.textile.server.identity import Identity, save_identity

    made = Identity.generate()
    with in_one_line(SetupError):
        save_identity(made, file)
    output.show({"file": str(file), "public_key": made.public_key}, made.public_key)


@identity.command(examples=["ipfsreg identity show /var/lib/ipfsreg/identity"], result="{file, public_key}")
@file_argument
def show(file: Path, output: Output) -> None:
    """Print the public key of the pair in FILE."""
    from ipfsreg.bucket.textile.server.identity import load_identity

    with in_one_line(SetupError):
        found = load_identity(file).public_key
    output.show({"file": str(file), "public_key": found}, found)


def _directories_of(context: click.Context, parameter: click.Parameter, repository: str | None) -> str:
    from ipfsreg.bucket.textile.tasks import SEPARATOR
    from ipfsreg.registry import layout

    try:
        return "" if repository is None else SEPARATOR.join(layout.directories_of(parse_repository(repository)))
    except NameInvalid as error:
        raise click.BadParameter(error.message) from None


repository_option = click.option(
    "--repository",
    "paths",
    metavar="NAME",
    callback=_directories_of,
    help="Only for this repository's own lists (see `ipfsreg share --help`); without it for the whole bucket.",
)


@group
def share() -> None:
    """Say who else may change or remove what is in the bucket.

    Roles belong to public keys (see `ipfsreg identity`), or to * for everybody, and each includes the ones
    before it: reader, writer, admin.

    No role lets anybody push: a server lets only the bucket's owner, the identity that made it, add a file. Daemons
    that push to one bucket have copies of the same identity file, or, on a hub, keys of one account. A writer may
    let tags that are there point to other manifests that the repository has. An admin may delete tags and manifests,
    too. A role on one repository is one on its own lists, not on repositories below its name.

    A public bucket can be read by everybody from the start. An encrypted one can be read by its owner only: a role on
    all of it would make the server lose the key of what is there, and is refused; one on a repository is not enough
    for a pull.
    """


@share.command(
    "grant",
    examples=[
        "ipfsreg share grant '*' reader --repository team/app",
        "ipfsreg share grant --repository app '*' writer",
    ],
    result="{roles: {public key: role}, uneven: [path]}",
)
@config_option
@repository_option
@click.argument("who", type=PublicKey())
@click.argument("role", type=click.Choice(["reader", "writer", "admin"]))
def share_grant(path: Path | None, paths: str, who: str, role: str, output: Output) -> None:
    """Give WHO (a public key, or *) a ROLE. On all of an encrypted bucket that is refused.

    No role lets WHO push, and none is enough for a pull from an encrypted bucket; see `ipfsreg share --help`.
    """
    _show_roles(output, ask_server(path, "textile", "share-grant", {"who": who, "role": role, "paths": paths}))


@share.command(
    "revoke",
    examples=["ipfsreg share revoke --repository team/app '*'"],
    result="{roles: {public key: role}, uneven: [path]}",
)
@config_option
@repository_option
@click.argument("who", type=PublicKey())
def share_revoke(path: Path | None, paths: str, who: str, output: Output) -> None:
    """Take away what was given to WHO. A role on the whole bucket counts for each repository on."""
    roles = ask_server(path, "textile", "share-grant", {"who": who, "role": "none", "paths": paths})
    _show_roles(output, roles)
    if roles["roles"].get(who, "none") != "none":
        fail(f"{who} still has a role here: as the bucket's owner, or given on the whole bucket", Exit.PROBLEM)


@share.command(
    "list",
    examples=["ipfsreg share list", "ipfsreg share list --repository team/app --json"],
    result="{roles: {public key: role}, uneven: [path]}",
)
@config_option
@repository_option
def list_(path: Path | None, paths: str, output: Output) -> None:
    """Show who has which role."""
    _show_roles(output, ask_server(path, "textile", "share-list", {"paths": paths}))


@group
def archive() -> None:
    """Back the bucket up on Filecoin. The server needs a Powergate for that."""


@archive.command(
    "start",
    short_help="Have an archive made of the bucket as it is now.",
    examples=["ipfsreg archive start"],
    result="{buckets: [{bucket, state, why}]}",
)
@config_option
def archive_start(path: Path | None, output: Output) -> None:
    """Have an archive made of the bucket as it is now (exit status 1 where the server will not)."""
    found = ask_server(path, "textile", "archive-start")
    output.show(found, *_once(each.get("why") or "The archive was started." for each in found["buckets"]))
    if any(each["state"] == "refused" for each in found["buckets"]):
        sys.exit(Exit.PROBLEM)


@archive.command(
    "status",
    short_help="Show what became of the archives.",
    examples=["ipfsreg archive status", "ipfsreg archive status --json"],
    result=_ARCHIVES,
)
@config_option
def archive_status(path: Path | None, output: Output) -> None:
    """Show what became of the archives (exit status 1 where the last one of a bucket failed)."""
    found = ask_server(path, "textile", "archive-status")
    output.show(found, *(line for bucket in found["buckets"] for line in _archives(bucket)))
    _exit_if_bad(found["buckets"])


@archive.command(
    "watch", short_help="Follow the archives that are being made.", examples=["ipfsreg archive watch"], result=_ARCHIVES
)
@config_option
def archive_watch(path: Path | None, output: Output) -> None:
    """Follow the archives that are being made until they are finished (exit status 1 where one failed).

    With --json there is one document, as of `archive status`, at the end.
    """
    from ipfsreg.bucket.textile.archive import news

    async def follow(registry: "RegistryAccess") -> dict[str, Any]:
        seen: dict[str, list[str]] = {}
        while True:
            buckets: list[dict[str, Any]] = (await registry.do("archive-watch", {}))["buckets"]
            for bucket in buckets:
                known = seen.setdefault(bucket["bucket"], [])
                for message in news(known, bucket["messages"]):
                    if not output.as_json:
                        click.echo(printable(message))
                    known.append(message)
            if all(bucket["ended"] for bucket in buckets):
                return await registry.do("archive-status", {})

    need_backend(path, "textile")
    ended = with_registry(path, follow, scratch=True)
    output.show(ended, *_once("The bucket was never archived." for each in ended["buckets"] if not each["current"]))
    _exit_if_bad(ended["buckets"])


def _show_roles(output: Output, found: dict[str, Any]) -> None:
    lines = [f"{role:<8}{who}" for who, role in found["roles"].items()]
    if found["uneven"]:
        uneven = ", ".join(found["uneven"])
        lines.append(f"Not everywhere in the bucket the same, grant or revoke again: {uneven}")
    if not found["roles"]:
        lines.insert(0, "Nobody has a role here but the owner.")
    output.show(found, *lines)


def _archives(bucket: dict[str, Any]) -> Iterator[str]:
    yield f"Bucket {bucket['bucket']}:"
    archives = [*bucket["history"], *([bucket["current"]] if bucket["current"] else [])]
    for archive in archives:
        why = f": {archive['failure']}" if archive["failure"] else ""
        yield f"  {archive['created'] or 'at an unknown time'}  {archive['state']}{why}  {archive['cid']}"
        for deal in archive["deals"]:
            message = f": {deal['message']}" if deal["message"] else ""
            yield f"    {deal['miner']} deal {deal['deal']} {deal['state']}{message}"
    if not archives:
        yield "  never archived"


def _exit_if_bad(buckets: Sequence[dict[str, Any]]) -> None:
    if any(bucket["current"] and bucket["current"]["state"] in _BAD for bucket in buckets):
        sys.exit(Exit.PROBLEM)


def _once(lines: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(lines)
