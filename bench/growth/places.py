"""Where stores are: in a directory for the backend ``local``, or on a Kubo node of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.kubo import daemon_for
from bench.registries import Registry
from tests.bucket.kubo.node import KuboNode

from . import turns
from .stored import Store

_ADD = ("add", "--quieter", "--recursive", "--hidden", "--cid-version=1", "--raw-leaves", "--pin=false")
_HOURS = 4 * 3600.0


@contextmanager
def local(registry: Registry, directory: Path, shape: str, size: int) -> Iterator[Registry]:
    """A store in a directory of this disk. One that is there is gone on with."""
    Store(directory / "data").fill(shape, size)
    yield _measured(registry)


@contextmanager
def kubo(registry: Registry, directory: Path, shape: str, size: int) -> Iterator[Registry]:
    """A store on a node without peers: one tree is added to it, in the folder with which a registry begins."""
    files = directory / "files"
    Store(files).fill(shape, size)
    (files / "bucket" / ".bucket").unlink()  # of `local` alone
    node = KuboNode(directory, {"Datastore.StorageMax": "1TB"})
    root = node.command(*_ADD, str(files / "bucket"), within=_HOURS).strip()
    node.start()
    try:
        node.rpc("files/mkdir", "/ipfsreg", parents=True)
        node.rpc("files/cp", f"/ipfs/{root}", "/ipfsreg/bucket")
        yield _measured(replace(registry, prepare=daemon_for(node).prepare))
    finally:
        node.stop()


PLACES = {"local": local, "kubo": kubo}


def _measured(registry: Registry) -> Registry:
    """The same registry, with the turns of its reactor measured, and without what it would begin by itself."""

    def prepare(port: int, directory: Path) -> list[str]:
        twistd, *arguments = registry.prepare(port, directory)
        with (directory / "ipfsreg.ini").open("a", encoding="utf-8") as config:
            config.write("[gc]\ninterval = never\n[scrub]\ninterval = never\n")
        return [str(Path(twistd).with_name("python")), turns.__file__, str(turns.file_in(directory)), *arguments]

    return replace(registry, prepare=prepare)
