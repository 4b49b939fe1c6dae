"""Markers: short texts that a node keeps, which exactly one of several daemons can take away.

On a node they are pins of CIDs that hold the text themselves. Such a CID has no block, so nothing of it can be lost,
garbage collection does not look at it, and nobody looks for it on a network. ``pin/rm`` succeeds for one caller. Behind
the proxy of a cluster, whose pins are agreed upon by its peers in their own time, markers are files in the MFS of the
one node that is behind it.
"""

import hashlib
from collections.abc import Iterable
from typing import Protocol

from ipfsreg.bucket.errors import NotFound
from ipfsreg.bucket.kubo.errors import Exists, NotPinned
from ipfsreg.ipfs.cid import INLINE_MAX, CIDInvalid, inline_cid, inline_content, parse_cid

from .node import Node


class Markers(Protocol):
    """The markers of one bucket. All methods fail with a `BucketError` where the node does not answer."""

    async def add(self, text: str) -> None:
        """Have a marker there; one that is there already is as good."""

    async def take(self, text: str) -> bool:
        """Remove a marker; answers whether it was this call that did it."""

    async def has(self, text: str) -> bool:
        """Whether a marker is there."""

    async def all(self) -> set[str]:
        """All of them."""


def bucket_id(path: str) -> str:
    """What tells the bucket in a folder of a node from those in others, in 16 characters."""
    return hashlib.sha256(path.encode()).hexdigest()[:16]


class PinMarkers:
    """`Markers` as direct pins of inline CIDs.

    ``ipfs pin ls --type=direct`` lists them, and ``ipfs cat`` shows what they say.
    """

    def __init__(self, node: Node, path: str) -> None:
        self._node = node
        self._prefix = f"ipfsreg {bucket_id(path)} "

    async def add(self, text: str) -> None:
        await self._node.pin_direct(self._cid(text))

    async def take(self, text: str) -> bool:
        try:
            await self._node.unpin(self._cid(text))
        except NotPinned:
            return False
        return True

    async def has(self, text: str) -> bool:
        return await self._node.is_pinned(self._cid(text), "direct")

    async def all(self) -> set[str]:
        return set(self._ours(await self._node.pins("direct")))

    def _ours(self, cids: Iterable[str]) -> Iterable[str]:
        for text in cids:
            try:
                content = inline_content(parse_cid(text))
            except CIDInvalid:
                continue
            if content is not None and content.startswith(self._prefix.encode()):
                yield content.decode("utf-8", "replace").removeprefix(self._prefix)

    def _cid(self, text: str) -> str:
        content = (self._prefix + text).encode()
        assert len(content) <= INLINE_MAX, text
        return str(inline_cid(content))


class FolderMarkers:
    """`Markers` as files of a folder in the MFS of ``index``."""

    def __init__(self, node: Node, path: str) -> None:
        self._node = node
        self._folder = f"{path}/markers"

    async def add(self, text: str) -> None:
        try:
            await self._node.copy(str(inline_cid(text.encode())), self._path(text))
        except Exists:
            return
        await self._node.flush(self._folder)

    async def take(self, text: str) -> bool:
        try:
            await self._node.remove(self._path(text))
        except NotFound:
            return False
        return True

    async def has(self, text: str) -> bool:
        try:
            await self._node.stat(self._path(text))
        except NotFound:
            return False
        return True

    async def all(self) -> set[str]:
        try:
            names = await self._node.names(self._folder)
        except NotFound:
            return set()
        return {name.replace("_", " ") for name in names}

    def _path(self, text: str) -> str:
        return f"{self._folder}/{text.replace(' ', '_')}"
