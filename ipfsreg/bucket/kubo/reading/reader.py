"""An open file of the node: ranges of it by ``cat``."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import IO

from twisted.internet.defer import Deferred, TimeoutError
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.bucket.interface import IReader
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, Missing
from ipfsreg.bucket.kubo.rpc.client import Rpc, parsed, reading
from ipfsreg.bucket.kubo.rpc.lanes import Lane
from ipfsreg.flow.streams import Pieces, next_or_none

SENT = "x-content-length"
"""The header in which ``cat`` says how much it is going to send (docs/protocols/kubo.md, "Streams")."""

TAKEN_AT_ONCE = 256 * 1024
"""Up to so many bytes are taken from the node at once, and wait here for a slow reader."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a node is asked for content. ``local`` says that it must not look for it on its network.

    Calls go through ``lane`` and take at most ``seconds``, where these are given.
    """

    rpc: Rpc
    local: bool
    lane: Lane | None = None
    seconds: float | None = None


@implementer(IReader)
class CidReader:
    """The file of a CID, ``size`` bytes long.

    Each read is a call of its own. Those of no more than `TAKEN_AT_ONCE` bytes are not kept waiting by long ones,
    unless the route has a lane of its own. What was opened stays readable while the node has its blocks.
    """

    file: IO[bytes] | None = None

    def __init__(self, route: Route, cid: str, size: int) -> None:
        self.size: int | None = size
        self.cid = cid
        self._route = route
        self._rpc = route.rpc
        self._timeout = route.seconds or route.rpc.timeout

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        """See `IReader.pieces`.

        `Unavailable` where nothing comes for the timeout; `Corrupt` where the node lacks a block of it.
        """
        if length > TAKEN_AT_ONCE:
            async with aclosing(self._stream(self._route.lane or self._rpc.downloads, offset, length)) as stream:
                async for piece in stream:
                    yield piece
        elif length:  # read at once, so that its lane is free again however slowly it is taken
            lane = self._route.lane or self._rpc.quick
            yield b"".join([piece async for piece in self._stream(lane, offset, length)])

    async def _stream(self, lane: Lane, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        came = 0
        async with self._rpc.slot(lane, self._timeout) as slot:
            options = {"offset": offset, "length": length, "offline": self._route.local}
            try:
                call = await slot.begin("cat", [f"/ipfs/{self.cid}"], options)
            except Missing as error:
                raise Corrupt(str(error)) from None
            try:
                sent = call.headers.get(SENT, str(length))
                if sent != str(length):
                    raise Corrupt(f"{self.cid} has not the length that it should have: cat would send {sent} bytes")
                received = Pieces()
                received.registerProducer(call, True)
                call.ended.addBoth(received.end)
                call.take(received.write)
                while came < length and (piece := await self._next(received)) is not None:
                    came += len(piece)
                    if came > length:
                        raise Corrupt("cat: the node sends more than it was asked for")
                    yield piece
            finally:
                call.abort()
        if came != length:
            await self._short(lane, offset + came)

    async def _next(self, received: Pieces) -> bytes | None:
        """What came next, or None at the end of the answer, however early."""

        async def take() -> bytes | None:
            return await next_or_none(received)

        try:
            return await Deferred.fromCoroutine(take()).addTimeout(self._timeout, self._rpc.reactor)
        except TimeoutError:
            raise Unavailable("cat: the node sends nothing any more", RETRY_AFTER) from None

    async def _short(self, lane: Lane, position: int) -> None:
        """Find out why a stream ended early, since the trailer that says it is not shown to us."""
        path = f"/ipfs/{self.cid}"
        try:
            if (
                self._route.local
            ):  # the last bytes before a lost block may not have been sent, so that block is further on
                answer = await self._rpc.call("files/stat", [path], {"with-local": True, "offline": True}, lane=lane)
                with reading("files/stat"):
                    if not parsed("files/stat", answer).get("Local"):
                        raise Missing(f"the node has lost a part of {self.cid}")
            else:
                await self._rpc.call("cat", [path], {"offset": position, "length": 1, "offline": False}, lane=lane)
        except Missing as error:
            raise Corrupt(str(error)) from None
        raise Unavailable(f"cat: what the node sent of {self.cid} ended early", RETRY_AFTER)

    def close(self) -> None:
        """See `IReader.close`."""
