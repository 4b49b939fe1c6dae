"""Commands for images as they are on IPFS: ``ipfsreg cid``, ``publish``, ``export`` and ``import``."""

import os
import stat
import sys
from pathlib import Path

import click

from .car_files import STANDARD, ProgressBar, input_file, output_file, pieces_of
from .command import ask, config_option, fail, image_name, with_registry

_BEGIN = 512
_WORD_BY = 20  # bytes
_TAR_AT = 257


@click.command()
@config_option
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
@click.option("--blobs", is_flag=True, help="Also those of its config, layers and manifests, with digest and length.")
def cid(path: Path | None, name: str, blobs: bool) -> None:
    """Print the CID of an image's manifest.

    It is the one that `ipfs add` gives with the profile unixfs-v1-2025.
    """
    name = image_name(path, name)
    found = ask(path, "cid", {"name": name} | ({"parts": "1"} if blobs else {}))["parts"]
    if not blobs:
        click.echo(found[0]["cid"])
        return
    for part in found:
        if part["cid"] is None:
            click.echo(f"{'not here':59}  {part['digest']}")
        else:
            click.echo(f"{part['cid']:59}  {part['digest']}  {part['size']}")


@click.command()
@config_option
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
def publish(path: Path | None, name: str) -> None:
    """Print the CID by which an image is pulled with `nerdctl pull ipfs://CID`.

    Stores the image's IPFS-enabled view beside it, in which each descriptor has its ipfs:// URL. It goes with the
    image. Doing so again prints the same CID.
    """
    name = image_name(path, name)
    found = ask(path, "publish", {"name": name})
    _say_missing(len(found["missing"]))
    click.echo(found["cid"])


@click.command()
@config_option
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
@click.option("--output", "-o", default=STANDARD, metavar="FILE", help="The CAR file to write; - is standard output.")
def export(path: Path | None, name: str, output: str) -> None:
    """Write an image to a CAR file, and print the CID of its root.

    The root is a directory, an OCI image layout. `ipfs dag import` brings the file into an IPFS node, and
    HOST/ipfs/CID pulls it from any registry on that node, or on one that is connected to it.
    """
    name = image_name(path, name)
    if output == STANDARD and sys.stdout.isatty():
        fail("a CAR file is not for a terminal: give it a name with -o FILE")
    with output_file(output) as file, ProgressBar("Exporting") as bar:

        def write(piece: bytes) -> None:
            file.write(piece)
            bar.moved(len(piece))

        exported = with_registry(path, lambda registry: registry.export(name, bar.begin, write))
    _say_missing(exported["missing"])
    click.echo(exported["root"], err=output == STANDARD)


@click.command("import")
@config_option
@click.argument("file", metavar="FILE")
@click.argument("name", metavar="[NAME[:TAG]]", required=False)
def import_(path: Path | None, file: str, name: str | None) -> None:
    """Store the image that is in a CAR file, by default under the name that it has there. - is standard input.

    Every block is compared with its CID, and nothing is stored unless all of the image is there.
    """
    if name is not None:
        name = image_name(path, name)
    with input_file(file) as opened, ProgressBar("Importing") as bar:
        status = os.fstat(opened.fileno())
        length = status.st_size if stat.S_ISREG(status.st_mode) else None
        if length is not None:
            _check_begin(file, os.pread(opened.fileno(), _BEGIN, 0))
            bar.begin(length)
        found = with_registry(
            path,
            lambda registry: registry.import_image(name, pieces_of(opened, bar.moved), length),
            may_make_bucket=True,
            about=f"{file}: ",
        )
    _say_missing(len(found["missing"]))
    click.echo(f"{found['name']} {found['digest']}")


def _check_begin(file: str, begin: bytes) -> None:
    """End the program for what cannot be a CAR file: its header has one of two words in it, of either version."""
    if any(word in begin[:_WORD_BY] for word in (b"roots", b"version")):
        return
    instead = ""
    if begin[_TAR_AT:].startswith(b"ustar"):
        instead = (
            f"; it is a tar archive: skopeo copy docker-archive:{file} docker://HOST/NAME pushes one of docker save"
        )
    fail(f"{file} is no CAR file, such as `ipfsreg export NAME -o FILE` writes{instead}")


def _say_missing(count: int) -> None:
    if count:
        click.echo(f"Without {count} of the manifests that the image lists, which are not here.", err=True)
