"""``/ipfs/<cid>``: blocks and CARs by CID, for clients that verify what they get (the trustless gateway)."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from dataclasses import replace

from ipfsreg.flow.workers import Workers
from ipfsreg.ipfs.car import encode_header, section_head
from ipfsreg.ipfs.cid import CID, DAG_PB, IDENTITY, CIDInvalid, parse_cid
from ipfsreg.ipfs.file_dag import BlockPlace, FileDag
from ipfsreg.registry.content.cid_index import Allowed
from ipfsreg.registry.errors import CidInvalid, CidUnknown, NotCached
from ipfsreg.registry.ipfs.blocks import Blocks, Located, OpenBlock
from ipfsreg.web.content import Representation, decide, is_unmodified
from ipfsreg.web.gate import Entry, Gate
from ipfsreg.web.http.request import Request
from ipfsreg.web.routes import Routes
from ipfsreg.web.sending import send_pieces

from .trustless import RAW_TYPE, Wanted, wanted_by

_CACHE_CONTROL = "max-age=29030400, immutable"
"""As the specification has it."""

_IDENTITY_MAX = 128


class GatewayRoutes:
    """Serves what is in repositories for which ``allowed`` says yes."""

    def __init__(self, blocks: Blocks, workers: Workers, allowed: Allowed, gate: Gate) -> None:
        self._blocks = blocks
        self._workers = workers
        self._allowed = allowed
        self._gate = gate
        # Without access control, what is served by CID is for everybody who has the CID.
        self._scope = "public" if gate.is_open else "private"

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        routes.add("/ipfs/<cid>", ["GET", "HEAD"], "gateway", self.get, Entry.ANYBODY)
        routes.add("/ipfs/<cid>/<path:rest>", ["GET", "HEAD"], "gateway-path", self.get, Entry.ANYBODY)

    async def get(self, request: Request, cid: str, rest: str = "") -> bytes | None:
        """A block, or a CAR with the blocks below it."""
        parsed = read_cid(cid)
        wanted = wanted_by(request)
        if rest.strip("/"):
            raise CidUnknown("what is here are files, which have nothing below them", {"cid": cid[:256]})
        if parsed.hash_code == IDENTITY:
            return self._identity(request, parsed, cid, wanted)
        located = await self._blocks.find(parsed, shown_to(request, self._gate, self._allowed))
        if located is None:
            raise self._unknown(request, cid)
        content = _content(cid, wanted, self._scope)
        if is_unmodified(request, content):
            return None
        if request.method == b"HEAD" and wanted.media_type == RAW_TYPE:
            decide(request, replace(content, size=await self._blocks.block_size(located)))
            return None
        opened = await self._blocks.open(located)
        if opened is None:  # deleted since
            raise self._unknown(request, cid)
        with closing(opened):
            if wanted.media_type == RAW_TYPE:
                return _part(request, content, await opened.read())
            return await self._car(request, content, wanted, opened)

    def _identity(self, request: Request, cid: CID, text: str, wanted: Wanted) -> bytes:
        """A CID that is its own block. Nodes ask for the empty one to see whether there is a gateway."""
        if len(cid.hash) > _IDENTITY_MAX:
            raise CidInvalid(f"a CID with its block in it has at most {_IDENTITY_MAX} bytes here")
        block = cid.hash
        if wanted.media_type != RAW_TYPE:
            block = encode_header([cid]) + section_head(cid, len(cid.hash)) + cid.hash
        return _part(request, _content(text, wanted, self._scope), block)

    async def _car(self, request: Request, content: Representation, wanted: Wanted, opened: OpenBlock) -> bytes | None:
        cid = opened.located.cid
        dag = await opened.dag()
        length = await self._workers.run(_length, cid, dag, opened.located, wanted)
        if decide(request, replace(content, size=length)) is not None:
            await send_pieces(request, _pieces(cid, dag, opened, wanted))
        return None

    def _unknown(self, request: Request, cid: str) -> CidUnknown:
        wants_cached = "only-if-cached" in (request.header("cache-control") or "").lower()
        return (NotCached if wants_cached else CidUnknown)("nothing here has this CID", {"cid": cid[:256]})


def read_cid(text: str) -> CID:
    """A CID of a path.

    :raises CidInvalid: where the text is not a CID.
    """
    try:
        return parse_cid(text)
    except CIDInvalid as error:
        raise CidInvalid(str(error)) from None


def shown_to(request: Request, gate: Gate, allowed: Allowed) -> Allowed:
    """The repositories for which ``allowed`` says yes, as far as the asker may pull from them."""
    if gate.is_open:
        return allowed
    pulls = gate.pulls(request)
    return lambda repository: pulls(repository) and allowed(repository)


def _content(cid: str, wanted: Wanted, scope: str) -> Representation:
    """The answer, but for its size. ``scope`` is whom caches may give it to: ``public`` or ``private``."""
    is_raw = wanted.media_type == RAW_TYPE
    headers = {
        "Content-Disposition": f'attachment; filename="{cid}.{"bin" if is_raw else "car"}"',
        "Cache-Control": f"{scope}, {_CACHE_CONTROL}",
        "Accept-Ranges": "bytes" if is_raw else "none",
        "Vary": "Accept",
        "X-Ipfs-Path": f"/ipfs/{cid}",
        "X-Ipfs-Roots": cid,
    }
    return Representation(wanted.etag(cid), 0, wanted.content_type, headers, is_weak=not is_raw, has_ranges=is_raw)


def _part(request: Request, content: Representation, block: bytes) -> bytes:
    parts = decide(request, replace(content, size=len(block))) or ()
    return b"".join(part.head + block[part.first : part.end] for part in parts)


def _places(cid: CID, dag: FileDag, located: Located, wanted: Wanted) -> Iterator[tuple[BlockPlace, CID]]:
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
