"""The commands that the backend uses, with what differs between versions of a node and between a node and a cluster.

Version differences are those of the fact sheet, section 1.12; everything else is the same from 0.8 on.
"""

import base64
import json
import re
from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger

from ..errors import NotFound, Refused, SetupError, Unavailable
from ..sources import MemorySource, Source
from .body import MultipartBody
from .contents import Contents, Found
from .errors import RETRY_AFTER, Missing, NotPinned, TooManyUnflushed, translate
from .growing import GrowingBody, GrowingFile
from .rpc import Option, Rpc

OLDEST = (0, 8)
COPY_MAKES_PARENTS = (0, 10)
MAX_FILE_LINKS = (0, 35)
ONE_MEBIBYTE_BLOCKS = (0, 40)

ALL_BEFORE = 174
"""How many links a node of a file's DAG has where that cannot be chosen."""

CID = re.compile(r"Qm[1-9A-HJ-NP-Za-km-z]{44}|[bkzfuBKZFU][A-Za-z0-9_-]{8,200}")
"""What may be a CID. The node reads it; this only keeps paths and options out."""

LONG = 256 * 1024
"""From so many bytes on content goes on a connection of its own, and not between the short calls."""

WALK_SECONDS = 3600.0
"""How long a node may take to look at every block of a registry."""

_CLUSTER = "ipfs-cluster"
_VERSION = re.compile(r"(\d+)\.(\d+)")


class Node:
    """A node, or two: ``content`` is told what to add, pin and send; the MFS of ``index`` has the folder.

    ``cluster`` is whether content is behind a proxy of an IPFS Cluster, or None to find out.
    """

    _log = Logger()

    def __init__(self, content: Rpc, index: Rpc, chunker: str, max_file_links: int, cluster: bool | None) -> None:
        self.content = content
        self.index = index
        self.version = OLDEST
        self.cluster = bool(cluster)
        self.contents = Contents(content, index, lambda: self.local)
        self._chunker = chunker
        self._max_file_links = max_file_links
        self._look_for_cluster = cluster is None

    async def stat(self, path: str) -> Found:
        """See `Contents.stat`."""
        return await self.contents.stat(path)

    @property
    def local(self) -> bool:
        """Whether the node itself has all that is ours; behind a cluster's proxy another peer may have it."""
        return not self.cluster and self.content is self.index

    async def look(self) -> None:
        """Find out what the node is.

        :raises SetupError: where it is too old. :raises BucketError: where it does not say.
        """
        answer = await self.index.json("version")
        text = str(answer.get("Version", "")) if isinstance(answer, dict) else ""
        match = _VERSION.match(text)
        if match is None:
            raise Refused(f"version: this is not the RPC of a node ({text[:60]!r})")
        self.version = (int(match[1]), int(match[2]))
        if self.version < OLDEST:
            raise SetupError(f"the node is Kubo {text}; ipfsreg needs 0.8 or newer")
        if self._look_for_cluster:
            # Only what the proxy answers itself is signed by it; most it passes on to its node.
            headers = await self.content.headers("repo/stat", size_only=True)
            self.cluster = any(_CLUSTER in value for value in headers.getRawHeaders("Server", []))
        self._log.info(
            "The node is Kubo {version}{cluster}.",
            version=text,
            cluster=" behind a cluster's proxy" if self.cluster else "",
        )
        if (self.version < MAX_FILE_LINKS or self.cluster) and self._max_file_links != ALL_BEFORE:
            self._log.info(
                "It makes nodes of {links} links whatever it is told: CIDs of content of more than {links} chunks are "
                "not those of newer nodes.",
                links=ALL_BEFORE,
            )

    async def add(self, source: Source | GrowingFile, *, pin: bool = False) -> str:
        """Store content as a UnixFS file; answers its CID. Every option that the CID depends on is sent.

        The node may have failed after that answer, in pinning or on its disk, and says so only where nobody looks:
        what was added counts when it was pinned as part of something.
        """
        size = _chunk_size(self._chunker)
        if self.version < ONE_MEBIBYTE_BLOCKS:
            size = min(size, 1024**2)
        options: dict[str, Option] = {
            "cid-version": 1,
            "raw-leaves": True,
            "hash": "sha2-256",
            "chunker": f"size-{size}",
            "max-file-links": self._max_file_links,
            "trickle": False,
            "inline": False,
            "wrap-with-directory": False,
            "only-hash": False,
            "nocopy": False,
            "progress": False,
            "pin": pin,
        }
        if self.cluster:  # it refuses or misreads what it does not know
            for name in ("only-hash", "nocopy", "inline", "max-file-links"):
                del options[name]
        if isinstance(source, GrowingFile):
            growing = GrowingBody(source, self.content.reactor)
            answer = await self.content.send("add", options, growing, self.content.bulk)
        elif source.size < LONG:
            answer = await self.content.call("add", [], options, body=MultipartBody(source, self.content.reactor))
        else:
            body = MultipartBody(source, self.content.reactor)
            answer = await self.content.send("add", options, body, self.content.bulk)
        lines = [json.loads(line) for line in answer.splitlines() if line.strip()]
        cid = str(lines[-1].get("Hash", "")) if lines else ""
        if not CID.fullmatch(cid):
            raise Unavailable("add: the node names no CID", RETRY_AFTER)
        return cid

    async def is_whole(self, cid: str) -> bool:
        """Whether the node has every block of a file or directory."""
        found = await self.index.json("files/stat", f"/ipfs/{cid}", with_local=True, offline=True)
        return bool(found.get("Local"))

    async def copy(self, cid: str, path: str) -> None:
        """Give content a path in the MFS, in memory only. `Exists`; `Missing` where its first block is not there."""
        if self.version < COPY_MAKES_PARENTS:
            await self.make_directory(path.rpartition("/")[0])
        options: dict[str, Option] = {"parents": True, "flush": False, "offline": self.local, "cid-version": 1}
        await self._unflushed("files/cp", [f"/ipfs/{cid}", path], options)

    async def make_directory(self, path: str) -> None:
        """Make a directory of the MFS and those above it, in memory only, unless it is there."""
        await self._unflushed("files/mkdir", [path], {"parents": True, "flush": False, "cid-version": 1})

    async def remove(self, path: str) -> None:
        """Take a path and all below it out of the MFS. `NotFound`."""
        # What goes wrong is told in the body of a 200 (fact sheet, trap 4).
        told = await self.index.call("files/rm", [path], {"recursive": True})
        if not told.strip():
            return
        error = translate("files/rm", told.decode("utf-8", "replace"))
        if not isinstance(error, Missing):
            raise error
        # It was there, and the node has lost its first block: only by force it does not look at it.
        told = await self.index.call("files/rm", [path], {"recursive": True, "force": True})
        if told.strip():
            raise translate("files/rm", told.decode("utf-8", "replace"))

    async def write(self, path: str, content: bytes) -> None:
        """Replace the content of a small file of the MFS at once, in memory only; it is made where it is not there."""
        options: dict[str, Option] = {"create": True, "truncate": True, "flush": False}
        await self.index.call(
            "files/write", [path], options, body=MultipartBody(MemorySource(content), self.index.reactor)
        )

    async def read_path(self, path: str, limit: int) -> bytes:
        """A small file of the MFS, whose content the caller can tell from half of it. `NotFound`."""
        return await self.index.call("files/read", [path], {"count": limit}, limit=limit)

    async def _unflushed(self, command: str, arguments: Sequence[str], options: dict[str, Option]) -> None:
        try:
            await self.index.call(command, arguments, options)
        except TooManyUnflushed:
            # A node counts those of all its clients since any of them flushed anything.
            await self.flush("/")
            await self.index.call(command, arguments, options)

    async def flush(self, path: str) -> None:
        """Make a folder of the MFS durable, with all that is in it."""
        await self.index.json("files/flush", path)

    async def pin(self, cid: str) -> None:
        """Pin recursively; this walks all of it. `Missing`."""
        # A cluster takes bare CIDs only (fact sheet, section 8).
        options: dict[str, Option] = {"recursive": True, "offline": self.local}
        await self.content.call("pin/add", [cid], options, lane=self.content.bulk, seconds=WALK_SECONDS)

    async def move_pin(self, old: str, new: str) -> None:
        """Pin ``new`` in place of ``old``; only what differs is looked at. `Missing`, `NotPinned` of the old one."""
        try:
            await self.content.json("pin/update", old, new, unpin=True, offline=self.local)
        except Unavailable:
            if not self.cluster:
                raise
            # It has words of its own for what is not pinned.
            raise NotPinned(f"pin/update: the cluster does not replace {old}") from None

    async def unpin(self, cid: str) -> None:
        """Remove a recursive pin. `NotPinned`."""
        await self.content.json("pin/rm", cid, recursive=True)

    async def is_pinned(self, cid: str) -> bool:
        """Whether there is a recursive pin of exactly this."""
        try:
            answer: Any = await self.content.json("pin/ls", cid, type="recursive")
        except (NotPinned, NotFound):
            return False
        return bool(answer and answer.get("Keys"))


def inline_cid(content: bytes) -> str:
    """The CID of a raw block that is in the CID itself, and so on every node: nothing can be lost of it."""
    # CIDv1, raw, identity: fact sheet, section 3.3.
    return "b" + base64.b32encode(b"\x01\x55\x00" + bytes([len(content)]) + content).decode().rstrip("=").lower()


def _chunk_size(chunker: str) -> int:
    return int(chunker.removeprefix("size-"))
