"""The commands of the Space backend: ``ipfsreg space``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import ask_server, config_option, load, with_reactor
from .errors import Exit
from .terminal.declare import group
from .terminal.output import Output

if TYPE_CHECKING:
    from ipfsreg.bucket.space.options import SpaceOptions


@group
def space() -> None:
    """Set up a Fleek Space Daemon, and look after its bucket."""


@space.command(
    short_help="Get what ipfsreg needs of the Space Daemon.",
    examples=["ipfsreg space init --config ipfsreg.ini"],
    result="{done: [line]}",
)
@config_option
@click.option("--url", help="The Space Daemon's gRPC-Web address, instead of [space] url.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, readable=False, path_type=Path),
    help="Where the token is, or shall be, instead of [space] token_file.",
)
def init(path: Path | None, url: str | None, token_file: Path | None, output: Output) -> None:
    """Get the Space Daemon's token and a key pair, where they are not there yet.

    Nothing that is there is ever replaced. The token, which the daemon tells once, is stored in a file that only
    you can read, and so are the words from which the key pair can be made again.
    """
    from ipfsreg.bucket.space.backend import make_space_client
    from ipfsreg.bucket.space.setup import LostSecret, set_up

    options = _options(path, url, token_file)

    async def work(reactor: Any) -> Sequence[str]:
        return await set_up(options, lambda token: make_space_client(options, token, reactor))

    try:
        lines = with_reactor(work)
    except LostSecret as error:  # the one time when a secret is shown: else it would be lost
        click.echo(f"ipfsreg: {error}:", err=True)
        click.echo(error.secret, err=True)
        sys.exit(Exit.PROBLEM)
    output.show({"done": list(lines)}, *lines)


@space.command(examples=["ipfsreg space create registry"], result="{bucket}")
@config_option
@click.argument("bucket")
def create(path: Path | None, bucket: str, output: Output) -> None:
    """Make BUCKET, whatever its name is like. One that is there stays as it is."""
    from ipfsreg.bucket.space.backend import make_space_client
    from ipfsreg.bucket.space.bucket_finder import check_account, create_bucket
    from ipfsreg.bucket.space.options import check_bucket

    try:
        check_bucket(bucket)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="BUCKET") from None
    options = _options(path)

    async def work(reactor: Any) -> None:
        client = make_space_client(options, options.app_token(), reactor)
        try:
            await check_account(client)
            await create_bucket(client, bucket)
        finally:
            await client.stop()

    with_reactor(work)
    output.show({"bucket": bucket}, f"The Space Daemon has the bucket {bucket}.")


@space.group()
def backup() -> None:
    """Have the Space Daemon mirror the bucket to its hub."""


@backup.command(examples=["ipfsreg space backup on"], result="{backup}")
@config_option
def on(path: Path | None, output: Output) -> None:
    """Begin to mirror the bucket."""
    ask_server(path, "space", "backup-switch", {"to": "on"})
    output.show(
        {"backup": "on"}, "The backup is on: the Space Daemon sends the bucket's files to its hub, one after the other."
    )


@backup.command(examples=["ipfsreg space backup off"], result="{backup}")
@config_option
def off(path: Path | None, output: Output) -> None:
    """Mirror the bucket no more."""
    ask_server(path, "space", "backup-switch", {"to": "off"})
    output.show({"backup": "off"}, "The backup is off.")


@backup.command(
    "status", examples=["ipfsreg space backup status"], result="{files, backed_up, in_progress, usage: {used, quota}}"
)
@config_option
def show_backup_status(path: Path | None, output: Output) -> None:
    """Show how much of the bucket is on the hub."""
    found = ask_server(path, "space", "backup-status")
    usage = found["usage"]
    output.show(
        found,
        f"{found['backed_up']} of {found['files']} files are on the hub, {found['in_progress']} on their way.",
        "The Space Daemon does not tell whether the backup is on.",
        "It does not tell how much storage is used."
        if usage is None
        else f"Storage on the hub: {usage['used']} of {usage['quota']} bytes.",
    )


def _options(path: Path | None, url: str | None = None, token_file: Path | None = None) -> "SpaceOptions":
    from pydantic import ValidationError

    from ipfsreg.bucket.space.options import SpaceOptions

    options = load(path).backends["space"]
    given = {name: value for name, value in (("url", url), ("token_file", token_file)) if value is not None}
    try:
        return SpaceOptions.model_validate(options.model_dump(exclude_unset=True) | given)
    except ValidationError:
        raise click.BadParameter("it is http://HOST:PORT or https://HOST:PORT", param_hint="--url") from None
