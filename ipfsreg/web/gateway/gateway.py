"""``/ipfs/<cid>``: blocks and CARs by CID, for clients that verify what they get (the trustless gateway)."""

from collections.abc import AsyncGenerator, Iterator

from klein import Klein

from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.car import encode_header, section_head
from ipfsreg.ipfs.cid import CID, DAG_PB, IDENTITY, CIDInvalid, parse_cid
from ipfsreg.ipfs.file_dag import FileDag, Place
from ipfsreg.registry.content.cid_index import Allowed
from ipfsreg.registry.errors import CidInvalid, CidUnknown, NotCached
from ipfsreg.registry.ipfs.blocks import Blocks, Located, OpenBlock
from ipfsreg.web.conditions import not_modified, requested_range
from ipfsreg.web.replies import header, reply
from ipfsreg.web.request import StreamingRequest
from ipfsreg.web.routes import add_route
from ipfsreg.web.sending import Sending

from .trustless import RAW, Wanted, wanted_by

CACHE_CONTROL = "public, max-age=29030400, immutable"
"""As the specification has it. What is served by CID is for everybody who has the CID."""

_IDENTITY_MAX = 128


class GatewayRoutes:
    """Serves what is in repositories for which ``allowed`` says yes."""

    def __init__(self, blocks: Blocks, sending: Sending, workers: Workers, allowed: Allowed) -> None:
        self._blocks = blocks
        self._sending = sending
        self._workers = workers
        self._allowed = allowed

    def add_to(self, app: Klein) -> None:
        """Add the routes."""
        add_route(app, "/ipfs/<cid>", ["GET", "HEAD"], "gateway", self.get)
        add_route(app, "/ipfs/<cid>/<path:rest>", ["GET", "HEAD"], "gateway-path", self.get)

    async def get(self, request: StreamingRequest, cid: str, rest: str = "") -> bytes | None:
        """A block, or a CAR with the blocks below it."""
        parsed = read_cid(cid)
        wanted = wanted_by(request)
        if rest.strip("/"):
            raise CidUnknown("what is here are files, which have nothing below them", {"cid": cid[:256]})
        if parsed.hash_code == IDENTITY:
            return self._identity(request, parsed, cid, wanted)
        located = await self._blocks.find(parsed, self._allowed)
        if located is None:
            raise self._unknown(request, cid)
        if not_modified(request, wanted.etag(cid)):
            return reply(request, 304, _headers(cid, wanted))
        if request.method == b"HEAD" and wanted.media_type == RAW:
            size = await self._blocks.block_size(located)
            reply(request, 200, _headers(cid, wanted))
            request.setHeader(b"Content-Length", b"%d" % size)
            return b""
        opened = await self._blocks.open(located)
        if opened is None:  # deleted since
            raise self._unknown(request, cid)
        try:
            if wanted.media_type == RAW:
                return self._block(request, cid, wanted, await opened.read())
            return await self._car(request, cid, wanted, opened)
        finally:
            opened.close()

    def _block(self, request: StreamingRequest, cid: str, wanted: Wanted, block: bytes) -> bytes:
        part = requested_range(request, wanted.etag(cid), len(block))
        headers = _headers(cid, wanted)
        if part is None:
            return reply(request, 200, headers, block)
        first, end = part
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(block)}"
        return reply(request, 206, headers, block[first:end])

    def _identity(self, request: StreamingRequest, cid: CID, text: str, wanted: Wanted) -> bytes:
        """A CID that is its own block. Nodes ask for the empty one to see whether there is a gateway."""
        if len(cid.hash) > _IDENTITY_MAX:
            raise CidInvalid(f"a CID with its block in it has at most {_IDENTITY_MAX} bytes here")
        if not_modified(request, wanted.etag(text)):
            return reply(request, 304, _headers(text, wanted))
        if wanted.media_type == RAW:
            content = cid.hash
        else:
            content = encode_header([cid]) + section_head(cid, len(cid.hash)) + cid.hash
        reply(request, 200, _headers(text, wanted), content)
        return b"" if request.method == b"HEAD" else content

    async def _car(self, request: StreamingRequest, text: str, wanted: Wanted, opened: OpenBlock) -> bytes | None:
        cid = opened.located.cid
        dag = await opened.dag()
        length = await self._workers.run(_length, cid, dag, opened.located, wanted)
        reply(request, 200, _headers(text, wanted))
        request.setHeader(b"Content-Length", b"%d" % length)
        if request.method == b"HEAD":
            return b""
        await self._sending.send_pieces(request, _pieces(cid, dag, opened, wanted))
        return None

    def _unknown(self, request: StreamingRequest, cid: str) -> CidUnknown:
        wants_cached = "only-if-cached" in (header(request, "cache-control") or "").lower()
        return (NotCached if wants_cached else CidUnknown)("nothing here has this CID", {"cid": cid[:256]})


def read_cid(text: str) -> CID:
    """A CID of a path.

    :raises CidInvalid: where it is none.
    """
    try:
        return parse_cid(text)
    except CIDInvalid as error:
        raise CidInvalid(str(error)) from None


def _headers(cid: str, wanted: Wanted) -> dict[str, object]:
    is_raw = wanted.media_type == RAW
    etag = f'"{wanted.etag(cid)}"'
    return {
        "Content-Type": wanted.content_type,
        "Content-Disposition": f'attachment; filename="{cid}.{"bin" if is_raw else "car"}"',
        "ETag": etag if is_raw else f"W/{etag}",
        "Cache-Control": CACHE_CONTROL,
        "Accept-Ranges": "bytes" if is_raw else "none",
        "Vary": "Accept",
        "X-Ipfs-Path": f"/ipfs/{cid}",
        "X-Ipfs-Roots": cid,
    }


def _places(cid: CID, dag: FileDag, located: Located, wanted: Wanted) -> Iterator[tuple[Place, CID]]:
    """The blocks of a CAR, each with its CID."""
    begin, past = located.range
    first, end = wanted.range_in(past - begin)
    seen: set[bytes] = set()
    # Bytes asked for as raw have no blocks below them, whatever they are.
    is_alone = wanted.scope == "block" or cid.codec != DAG_PB or first >= end
    for place in [located.place] if is_alone else dag.walk(located.place, begin + first, begin + end):
        found = dag.cid_at(place)
        if wanted.duplicates or found.hash not in seen:
            if not wanted.duplicates:
                seen.add(found.hash)
            yield place, cid if place == located.place else found


def _length(cid: CID, dag: FileDag, located: Located, wanted: Wanted) -> int:
    length = len(encode_header([cid]))
    for place, found in _places(cid, dag, located, wanted):
        size = dag.block_size(place)
        length += len(section_head(found, size)) + size
    return length


async def _pieces(cid: CID, dag: FileDag, opened: OpenBlock, wanted: Wanted) -> AsyncGenerator[bytes, None]:
    yield encode_header([cid])
    for place, found in _places(cid, dag, opened.located, wanted):
        block = await opened.read_at(dag, place)
        yield section_head(found, len(block))
        yield block
