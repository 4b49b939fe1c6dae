"""Where the parts of an image by CID come from when no repository has them."""

from collections.abc import Sequence
from contextlib import closing
from typing import Protocol

from ipfsreg.bucket.errors import NotFound, Refused, Unavailable
from ipfsreg.bucket.interface import IReader
from ipfsreg.ipfs.cid import parse_cid
from ipfsreg.registry.content.cid_index import Allowed
from ipfsreg.registry.content.open_content import read_part
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.errors import ManifestUnknown, NotInTime, RegistryError

from .image_tree import Listed
from .withheld import Withheld


class OpensCids(Protocol):
    """What can fetch by CID; see `ContentByCid`."""

    async def open_cid(self, cid: str, size: int | None) -> IReader:
        """See `ContentByCid.open_cid`."""


class ImageSource:
    """The node behind the bucket with the network behind it, or a CAR.

    ``opener`` is what can fetch by CID, if anything can; it is not asked for what is ``withheld``. ``name`` is what
    messages call the source, and ``nobody`` who does not have what is nowhere.
    """

    def __init__(
        self,
        storage: Storage,
        opener: OpensCids | None,
        withheld: Withheld | None = None,
        *,
        name: str = "the IPFS network",
        nobody: str = "neither this registry nor the IPFS network",
    ) -> None:
        self._storage = storage
        self._opener = opener
        self._withheld = withheld
        self._name = name
        self._nobody = nobody

    def seen_by(self, pulls: Allowed) -> "ImageSource":
        """The same for an asker who may pull from some repositories only.

        The node is not asked for the content of the others. It has to be known what is withheld.
        """
        assert self._withheld is not None
        withheld = self._withheld.seen_by(pulls)
        return ImageSource(self._storage, self._opener, withheld, name=self._name, nobody=self._nobody)

    async def open(self, listed: Listed, paths: Sequence[str], unknown: type[RegistryError]) -> IReader:
        """Open a content that may be at any of these paths, each of which begins with a CID.

        It is not compared with its digest. Fails with ``unknown`` where it is nowhere.

        :raises NotInTime: where nobody had it in time.
        """
        detail = {"digest": str(listed.digest)}
        if not paths:
            raise unknown(
                "this registry does not have it, and its CID cannot be known: its descriptor has no ipfs:// URL "
                "(`ipfsreg publish` makes an image whose descriptors have them)",
                detail,
            )
        nobody = f"{self._nobody} has it"
        if self._withheld is not None and await self._withheld.digest(listed.digest):
            raise unknown(nobody, detail)
        late: NotInTime | None = None
        for path in paths:
            try:
                return await self._open(path, listed.size)
            except NotInTime as error:
                late = error
            except ManifestUnknown:
                continue
        raise late or unknown(nobody, detail)

    async def manifest(self, listed: Listed, paths: Sequence[str]) -> bytes:
        """As `open`, a whole manifest that was compared with its digest."""
        content = await self._read(await self.open(listed, paths, ManifestUnknown), listed.size)
        if not await self._storage.store.matches(content, listed.digest):
            raise ManifestUnknown(f"what {self._name} has under this manifest's CID is not this manifest")
        return content

    async def document(self, path: str) -> bytes:
        """A small file of which no digest is known: the source has compared it with its CID."""
        return await self._read(await self._open(path, None), None)

    async def _open(self, path: str, size: int | None) -> IReader:
        if self._opener is None:
            if self._storage.index.complete:
                raise ManifestUnknown("no image here has this CID, and this registry has no IPFS node to ask")
            raise NotInTime("this registry does not know yet of all that it has; try again later")
        no_image = f"{self._nobody} has such an image"
        if self._withheld is not None and await self._withheld.cid(parse_cid(path.partition("/")[0])):
            raise ManifestUnknown(no_image)
        try:
            return await self._opener.open_cid(path, size)
        except (NotFound, Refused):  # refused: a directory, for one
            raise ManifestUnknown(no_image) from None
        except Unavailable as error:
            raise _late(error) from None

    async def _read(self, reader: IReader, size: int | None) -> bytes:
        longest = self._storage.max_manifest_size
        with closing(reader):
            if size is None:
                size = reader.size
            if size is None or size > longest:
                raise ManifestUnknown(f"what this CID leads to is not a manifest of at most {longest} bytes")
            try:
                return await read_part(self._storage.workers, reader, 0, size)
            except Unavailable as error:
                raise _late(error) from None


def _late(error: Unavailable) -> NotInTime:
    return NotInTime(f"nobody on the IPFS network had it in time ({error})", error.retry_after)
