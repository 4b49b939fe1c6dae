"""The commands that the backend uses, with what differs between versions of a node and between a node and a cluster.

The versions since which something is different are constants here (docs/protocols/kubo.md, "Versions"); everything else
is the same from 0.8 on.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twisted.logger import Logger

from ipfsreg.bucket.errors import Corrupt, NotFound, Refused, SetupError, Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, CutOff, Missing, NotPinned, TooManyUnflushed, node_error
from ipfsreg.bucket.kubo.options import KuboOptions
from ipfsreg.bucket.kubo.rpc.body import BlocksBody, FileBody
from ipfsreg.bucket.kubo.rpc.client import Option, Options, Rpc, parsed, reading
from ipfsreg.bucket.kubo.rpc.growing import GrowingBody, GrowingFile
from ipfsreg.bucket.sources import Source
from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, BlockDamaged, CIDInvalid, parse_cid, verify_block
from ipfsreg.ipfs.file_dag import PROFILE
from ipfsreg.ipfs.hamt import Block

from .directories import Directories

OLDEST = (0, 8)
COPY_MAKES_PARENTS = (0, 10)
BLOCK_CODECS = (0, 13)
MAX_FILE_LINKS = (0, 35)
ONE_MEBIBYTE_BLOCKS = (0, 40)

MFS_WAITS = (0, 43)
"""Since this version changes of the MFS and garbage collection wait for each other."""

ALL_BEFORE = 174
"""How many links a node of a file's DAG has where that cannot be chosen."""

LONG = 256 * 1024
"""From so many bytes on content goes on a connection of its own, and not between the short calls."""

WALK_SECONDS = 3600.0
"""How long a node may take to look at every block of a registry."""

PIN_PATIENCE = 10
"""How many timeouts a change of pins may take."""

CUT_TRIES = 3
"""How often blocks are sent again through the proxy of a cluster.

It cuts off one answer in some hundred, where the node answers while the proxy has not seen the end of the request yet.
"""

NODE_BLOCK_MAX = 4 * 1024**2

EMPTY = "bafkqaaa"
"""The CID that has no content: it can be asked for anywhere."""

_CLUSTER = "ipfs-cluster"
_CODECS = {RAW: "raw", DAG_PB: "dag-pb"}
_OLD_FORMATS = {RAW: "raw", DAG_PB: "protobuf"}
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to. ``size`` is a file's length in bytes."""

    cid: str
    size: int
    is_directory: bool

    @classmethod
    def read(cls, answer: Any) -> "Found":
        """From what ``files/stat`` answers. `Unavailable` where that is something else."""
        with reading("files/stat"):
            return cls(str(answer["Hash"]), int(answer["Size"]), answer["Type"] == "directory")


@dataclass(frozen=True, slots=True)
class Target:
    """A file that a path is to lead to. ``size`` is the length of all its blocks in bytes."""

    cid: CID
    size: int


class Node:
    """A node, or two: ``content`` is told what to add, pin and send; the MFS of ``index`` has the folder."""

    _log = Logger()

    def __init__(self, content: Rpc, index: Rpc, options: KuboOptions, workers: Workers) -> None:
        self.content = content
        self.index = index
        self.version = OLDEST
        self.cluster = bool(options.cluster)
        self.directories = Directories(self.get_block, workers)
        self._chunker = options.chunker
        self._max_file_links = options.max_file_links
        self._look_for_cluster = options.cluster is None

    @property
    def local(self) -> bool:
        """Whether the node itself has all that is ours; behind a cluster's proxy another peer may have it."""
        return not self.cluster and self.content is self.index

    @property
    def chunk(self) -> int:
        """How many bytes of a file are a block, at most."""
        size = int(self._chunker.removeprefix("size-"))
        return min(size, 1024**2) if self.version < ONE_MEBIBYTE_BLOCKS else size

    @property
    def stores_in_profile(self) -> bool:
        """Whether the DAGs of files that it stores have the form of `PROFILE`. No, before `look` has told."""
        wanted = (self._chunker, self._max_file_links) == (f"size-{PROFILE.chunk}", PROFILE.links)
        return wanted and not self.cluster and self.version >= MAX_FILE_LINKS

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
            headers = await self.content.headers("pin/ls", EMPTY, type="direct")
            self.cluster = any(_CLUSTER in value for value in headers.getRawHeaders("Server", []))
        self._log.info(
            "The node is Kubo {version}{cluster}.",
            version=text,
            cluster=" behind a cluster's proxy" if self.cluster else "",
        )
        if self.cluster:
            self._log.warn(
                "A cluster pins in its own time: what `repo gc` takes from its nodes beside a push is lost, though the "
                "push was acknowledged. Run it when nobody pushes, and no node with --enable-gc."
            )
        elif not self.local and self.version < MFS_WAITS:
            self._log.warn(
                "Before Kubo {version} garbage collection beside pushes may damage the MFS, which the markers are in.",
                version=".".join(str(number) for number in MFS_WAITS),
            )
        if (self.version < MAX_FILE_LINKS or self.cluster) and self._max_file_links != ALL_BEFORE:
            self._log.info(
                "It makes nodes of {links} links whatever it is told: CIDs of content of more than {links} chunks are "
                "not those of newer nodes.",
                links=ALL_BEFORE,
            )

    async def add(self, source: Source | GrowingFile, *, pin: bool = False) -> Target:
        """Store content as a UnixFS file. `Missing` where garbage collection took some of it meanwhile.

        Every option that the CID depends on is sent.

        The node may have failed after that answer, in pinning or on its disk, and says so only in a trailer. So what
        was added counts when it was pinned as part of something.
        """
        options: dict[str, Option] = {
            "cid-version": 1,
            "raw-leaves": True,
            "hash": "sha2-256",
            "chunker": f"size-{self.chunk}",
            "max-file-links": self._max_file_links,
            "trickle": False,
            "inline": False,
            "wrap-with-directory": False,
            "only-hash": False,
            "nocopy": False,
            "progress": False,
            "pin": pin,
            # It reads what it has stored, and would look on its network for what was collected meanwhile.
            "offline": self.local,
        }
        if self.cluster:
            # So it answers when all is stored, and what went wrong is its answer and not a trailer.
            options["stream-channels"] = False
        reactor = self.content.reactor
        if isinstance(source, GrowingFile):
            answer = await self.content.send("add", options, GrowingBody(source, reactor))
        elif source.size < LONG:
            answer = await self.content.call("add", [], options, body=FileBody(source, reactor))
        else:
            answer = await self.content.send("add", options, FileBody(source, reactor))
        try:
            added = _lines("add", answer)[-1]
            return Target(parse_cid(str(added["Hash"])), int(added["Size"]))
        except (CIDInvalid, IndexError, KeyError, TypeError, ValueError, OverflowError):
            # What went wrong after output began is told in a trailer.
            raise Missing("add: the node names no CID", RETRY_AFTER) from None

    async def is_whole(self, cid: str, seconds: float | None = None) -> bool:
        """Whether the node has every block of a file or directory."""
        try:
            answer = await self.index.call(
                "files/stat",
                [f"/ipfs/{cid}"],
                {"with-local": True, "offline": True},
                lane=self.index.bulk,
                seconds=seconds,
            )
        except Missing:
            return False
        with reading("files/stat"):
            return bool(parsed("files/stat", answer).get("Local"))

    async def put_blocks(self, blocks: Sequence[Block], *, pin: bool = False) -> None:
        """Store blocks as they are. ``pin`` has each of them pinned, so that garbage collection waits and takes none.

        Such a pin is recursive, and the node does not look whether what is below it is there.
        """
        by_codec: dict[int, list[Block]] = {}
        for block in blocks:
            by_codec.setdefault(block[0].codec, []).append(block)
        for codec in sorted(by_codec, key=lambda codec: codec != RAW):  # what is linked to comes first
            some = by_codec[codec]
            options: dict[str, Option] = {"mhtype": "sha2-256", "pin": pin}
            if self.version < BLOCK_CODECS:
                options["format"] = _OLD_FORMATS[codec]
            else:
                options["cid-codec"] = _CODECS[codec]
            answer = await self._put(options, [content for _, content in some])
            if [line.get("Key") for line in _lines("block/put", answer)] != [str(cid) for cid, _ in some]:
                # After output began the node tells of a failure in a trailer: here by what is missing.
                raise Unavailable("block/put: the node has not stored what it was given", RETRY_AFTER)

    async def _put(self, options: Options, blocks: Sequence[bytes]) -> bytes:
        seconds = self.patience if options["pin"] else None
        left = CUT_TRIES if self.cluster else 0
        while True:
            body = BlocksBody(blocks, self.content.reactor)
            try:
                return await self.content.call("block/put", [], options, body=body, seconds=seconds)
            except CutOff:
                if not left:
                    raise
                left -= 1

    async def get_block(self, cid: CID, seconds: float | None = None) -> bytes:
        """A block. `Missing` where the node has not got it, `GaveUp` where it does not come in time."""
        block = await self.content.call(
            "block/get", [str(cid)], {"offline": self.local}, seconds=seconds, limit=NODE_BLOCK_MAX
        )
        try:
            verify_block(cid, block)
        except BlockDamaged as error:
            raise Corrupt(f"block/get: {error}") from None
        return block

    async def stat(self, path: str) -> Found:
        """What a path of the MFS leads to. `NotFound`."""
        return Found.read(await self.index.json("files/stat", path, offline=self.local))

    async def copy(self, cid: str, path: str) -> None:
        """Give content a path in the MFS, in memory only. `Exists`; `Missing` where its first block is not there."""
        if self.version < COPY_MAKES_PARENTS:
            parent = path.rpartition("/")[0]
            await self._unflushed("files/mkdir", [parent], {"parents": True, "flush": False, "cid-version": 1})
        options: dict[str, Option] = {"parents": True, "flush": False, "offline": self.local, "cid-version": 1}
        await self._unflushed("files/cp", [f"/ipfs/{cid}", path], options)

    async def remove(self, path: str, *, force: bool = False) -> None:
        """Take a path and all below it out of the MFS. `NotFound`; not with ``force``, nor does it look at what is
        there.
        """
        # What goes wrong is told in the body of a 200 (docs/protocols/kubo.md, "Commands").
        told = await self.index.call("files/rm", [path], {"recursive": True, "force": force})
        if told.strip():
            raise node_error("files/rm", told.decode("utf-8", "replace"))

    async def names(self, directory: str) -> list[str]:
        """The names in a directory of the MFS. `NotFound`."""
        found = await self.index.json("files/ls", directory)
        with reading("files/ls"):
            return [str(each["Name"]) for each in (found or {}).get("Entries") or ()]

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
        """Pin recursively; this walks all of it, twice on a node of one's own. `Missing`."""
        # An online node would look on its network for what is not there, and the pin is kept waiting by that.
        if self.local and not await self.is_whole(cid, WALK_SECONDS):
            raise Missing(f"the node has lost a part of {cid}", RETRY_AFTER)
        options: dict[str, Option] = {"recursive": True, "offline": self.local}
        await self.content.call("pin/add", [cid], options, lane=self.content.bulk, seconds=WALK_SECONDS)

    async def pin_direct(self, cid: str) -> None:
        """Pin a block alone."""
        await self.content.call("pin/add", [cid], {"recursive": False, "offline": self.local}, seconds=self.patience)

    async def move_pin(self, old: str, new: str, seconds: float) -> None:
        """Pin ``new`` in place of ``old``; only what differs is looked at. `Missing`, `NotPinned` of the old one.

        In a cluster both are pinned then: it pins the new one in its own time.

        An online node looks on its network for a block that it has not got, and is given ``seconds`` for that: it is
        `Unavailable` then. Before that it may have waited for its own garbage collection.
        """
        options: dict[str, Option] = {
            "unpin": not self.cluster,
            "offline": self.local,
            "timeout": f"{math.ceil(seconds)}s",
        }
        await self.content.call("pin/update", [old, new], options, seconds=self.patience + seconds)

    async def unpin(self, cid: str) -> None:
        """Remove a pin, of either kind. `NotPinned`."""
        await self.content.call("pin/rm", [cid], {"recursive": True}, seconds=self.patience)

    async def is_pinned(self, cid: str, kind: str = "recursive") -> bool:
        """Whether there is a pin of exactly this, ``recursive`` or ``direct``."""
        try:
            answer: Any = await self.content.json("pin/ls", cid, type=kind)
        except (NotPinned, NotFound):
            return False
        with reading("pin/ls"):
            return bool(answer and answer.get("Keys"))

    async def pins(self, kind: str) -> list[str]:
        """The CIDs of all pins of a kind, ``recursive`` or ``direct``, whoever made them."""
        answer: Any = await self.content.json("pin/ls", type=kind)
        with reading("pin/ls"):
            return [str(each) for each in (answer or {}).get("Keys") or ()]

    @property
    def patience(self) -> float:
        """Seconds for a change of pins: the node lets them all wait while it collects garbage."""
        return PIN_PATIENCE * self.content.timeout


def _lines(command: str, answer: bytes) -> list[dict[str, Any]]:
    """The objects, one a line, that a command answers."""
    try:
        found = [json.loads(line) for line in answer.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        raise Unavailable(f"{command}: the node's answer is not JSON", RETRY_AFTER) from None
    # A cluster that does not stream answers one list of all.
    objects = [each for line in found for each in (line if isinstance(line, list) else [line])]
    return [each if isinstance(each, dict) else {} for each in objects]
