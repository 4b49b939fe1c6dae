"""Commands for images as they are on IPFS: ``ipfsreg cid``, ``publish``, ``export`` and ``import``."""

import os
import stat
import sys
from pathlib import Path

import click

from .car_files import STANDARD, input_file, output_file, pieces_of
from .command import Elsewhere, ask, config_option, fail, image_argument, image_name, registry_option, with_registry
from .terminal.declare import command
from .terminal.output import Output
from .terminal.table import Column, Table

_BEGIN = 512
_WORD_BY = 20  # bytes
_TAR_AT = 257


@command(
    examples=["ipfsreg cid busybox", "ipfsreg cid --blobs team/app:1.2", "docker pull HOST/ipfs/$(ipfsreg cid app)"],
    result="{name, cid, digest, parts: [{digest, cid, size}]}; parts with --blobs",
)
@config_option
@registry_option
@image_argument
@click.option("--blobs", is_flag=True, help="Also those of its config, layers and manifests, with digest and length.")
def cid(path: Path | None, elsewhere: Elsewhere | None, name: str, blobs: bool, output: Output) -> None:
    """Print the CID of an image's manifest.

    It is the one that `ipfs add` gives with the profile unixfs-v1-2025.
    """
    name = image_name(path, name, elsewhere)
    with output.progress("Computing CIDs"):
        found = ask(path, "cid", {"name": name} | ({"parts": "1"} if blobs else {}), elsewhere=elsewhere)["parts"]
    document = {"name": name, "cid": found[0]["cid"], "digest": found[0]["digest"]}
    if not blobs:
        output.show(document, found[0]["cid"])
        return
    columns: list[str | Column] = ["CID", Column("DIGEST", long=True), Column("SIZE", right=True)]
    output.show(
        document | {"parts": found}, Table(columns, ([part["cid"], part["digest"], part["size"]] for part in found))
    )


@command(
    examples=["ipfsreg publish busybox:latest", "nerdctl pull ipfs://$(ipfsreg publish busybox)"],
    result="{name, cid, view, missing: [digest]}",
)
@config_option
@image_argument
def publish(path: Path | None, name: str, output: Output) -> None:
    """Print the CID by which an image is pulled with `nerdctl pull ipfs://CID`.

    Stores the image's IPFS-enabled view beside it, in which each descriptor has its ipfs:// URL. It goes with the
    image. Doing so again prints the same CID.
    """
    name = image_name(path, name)
    with output.progress("Publishing"):
        found = ask(path, "publish", {"name": name})
    _say_missing(output, len(found["missing"]))
    output.show({"name": name} | found, found["cid"])


@command(
    examples=["ipfsreg export busybox -o busybox.car", "ipfsreg export busybox | ipfs dag import"],
    result="{name, file, root, missing_manifests}; how many of them",
)
@config_option
@image_argument
@click.option(
    "--output",
    "-o",
    "to",
    type=click.Path(),
    default=STANDARD,
    metavar="FILE",
    help="The CAR file to write; - is standard output.",
)
def export(path: Path | None, name: str, to: str, output: Output) -> None:
    """Write an image to a CAR file, and print the CID of its root.

    The root is a directory, an OCI image layout. `ipfs dag import` brings the file into an IPFS node, and
    HOST/ipfs/CID pulls it from any registry on that node, or on one that is connected to it.
    """
    name = image_name(path, name)
    if to == STANDARD and output.as_json:
        fail("--json and the CAR file cannot both be on standard output: give the file a name with -o FILE")
    if to == STANDARD and sys.stdout.isatty():
        fail("a CAR file is not for a terminal: give it a name with -o FILE")
    with output_file(to) as file, output.progress("Exporting", bytes_=True) as progress:

        def write(piece: bytes) -> None:
            file.write(piece)
            progress.advance(len(piece))

        exported = with_registry(path, lambda registry: registry.export(name, progress.expect, write))
    missing = exported["missing"]
    _say_missing(output, missing)
    if to == STANDARD:
        output.note(exported["root"])
    else:
        document = {"name": name, "file": to, "root": exported["root"], "missing_manifests": missing}
        output.show(document, exported["root"])


@command(
    "import",
    examples=[
        "ipfsreg import busybox.car",
        "ipfsreg import busybox.car team/busybox:1",
        "cat a.car | ipfsreg import -",
    ],
    result="{file, name, digest, missing: [digest]}",
)
@config_option
@click.argument("file", metavar="FILE", type=click.Path())
@click.argument("name", metavar="[NAME[:TAG]]", required=False)
def import_(path: Path | None, file: str, name: str | None, output: Output) -> None:
    """Store the image that is in a CAR file, by default under the name that it has there. - is standard input.

    Every block is compared with its CID, and nothing is stored unless all of the image is there.
    """
    if name is not None:
        name = image_name(path, name)
    with input_file(file) as opened, output.progress("Importing", bytes_=True) as progress:
        status = os.fstat(opened.fileno())
        length = status.st_size if stat.S_ISREG(status.st_mode) else None
        if length is not None:
            _check_begin(file, os.pread(opened.fileno(), _BEGIN, 0))
            progress.expect(length)
        found = with_registry(
            path,
            lambda registry: registry.import_image(name, pieces_of(opened, progress.advance), length),
            may_make_bucket=True,
            about=f"{file}: ",
        )
    _say_missing(output, len(found["missing"]))
    output.show({"file": file} | found, f"{found['name']} {found['digest']}")


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


def _say_missing(output: Output, count: int) -> None:
    if count:
        output.note(f"Without {count} of the manifests that the image lists, which are not here.")
