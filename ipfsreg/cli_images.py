"""Commands for images as they are on IPFS: ``ipfsreg publish``, ``export`` and ``import``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from .command import fail, run
from .registry.errors import RegistryError
from .registry.names import parse_reference

ConfigOption = Callable[[Callable[..., Any]], Callable[..., Any]]


def make_image_commands(config_option: ConfigOption) -> Sequence[click.Command]:
    """The commands."""
    return [_publish(config_option)]


def _publish(config_option: ConfigOption) -> click.Command:
    @click.command()
    @config_option
    @click.argument("name", metavar="NAME[:TAG|@DIGEST]")
    def publish(path: Path | None, name: str) -> None:
        """Print the CID by which an image is pulled with `nerdctl pull ipfs://CID`.

        Stores the image's IPFS-enabled view beside it, in which each descriptor has its ipfs:// URL. It goes with the
        image. Doing so again prints the same CID.
        """
        _check_name(name)
        found = run(path, "publish", {"name": name})
        if found["missing"]:
            count = len(found["missing"])
            click.echo(f"Without {count} of the manifests that it lists, which are not here.", err=True)
        click.echo(found["cid"])

    return publish


def _check_name(name: str) -> None:
    try:
        parse_reference(name)
    except RegistryError as error:
        fail(f"{name}: {error.message}")
