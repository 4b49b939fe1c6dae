"""What goes through the control socket as a stream: images that are exported and imported."""

import json

from ipfsreg.flow.streams import Pieces
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.events.event import EventAction, Origin, Target
from ipfsreg.registry.names import parse_reference
from ipfsreg.registry.registry import Registry
from ipfsreg.web.gate import Entry
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import parameter, reply
from ipfsreg.web.routes import Routes
from ipfsreg.web.sending import send_pieces

from .events import MISSING_HEADER, ROOT_HEADER
from .unknown import explained


class Streams:
    """``POST /export`` answers a CAR, ``POST /import`` takes one as its body."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def add_to(self, routes: Routes) -> None:
        """Add the routes. Those of one word that are added later do not hide them."""
        routes.add("/export", ["POST"], "export", self._export, Entry.EVERYBODY)
        routes.add("/import", ["POST"], "import", self._import, Entry.EVERYBODY)

    async def _export(self, request: Request) -> bytes | None:
        repository, reference = parse_reference(parameter(request, "name") or "")
        work = self._registry.exporter.export(repository, reference)
        export = await explained(self._registry, repository, reference, work)
        headers = {
            "Content-Type": "application/vnd.ipld.car",
            "Content-Length": export.length,
            ROOT_HEADER: export.root,
            MISSING_HEADER: len(export.missing),
        }
        reply(request, 200, headers)
        await send_pieces(request, export.pieces())
        return None

    async def _import(self, request: Request) -> bytes:
        pieces = Pieces()
        request.body.copy_to(pieces).addBoth(pieces.end)
        try:
            imported = await self._registry.importer.run(pieces, parameter(request, "name"))
        except BaseException:
            pieces.stop()
            raise
        repository, reference = parse_reference(imported.name)
        tag = None if isinstance(reference, Digest) else reference
        target = Target(repository, imported.digest, tag)
        await self._registry.events.changed(EventAction.PUSH, target, Origin("ipfsreg import"))
        return json.dumps(imported.document).encode()
