"""What goes through the control socket as a stream: images that are exported and imported."""

import json
from typing import Any, cast

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest

from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.shield import shield
from ipfsreg.flow.streams import Pieces
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.names import parse_reference
from ipfsreg.registry.registry import Registry
from ipfsreg.web.body import ClientGone
from ipfsreg.web.replies import parameter, reply
from ipfsreg.web.request import StreamingRequest
from ipfsreg.web.sending import Sending

from .unknown import explained

ROOT_HEADER = "X-Root"
"""The CID of an exported image's directory."""

MISSING_HEADER = "X-Missing"
"""How many of the manifests that the image lists are not in the CAR."""

STALL_SECONDS = 3600.0
"""For how long a command may take nothing of what it asked for: its user may have stopped it."""


_log = Logger()


class Streams:
    """``POST /export`` answers a CAR, ``POST /import`` takes one as its body."""

    def __init__(self, registry: Registry, workers: Workers, reactor: Any) -> None:
        self._registry = registry
        self._sending = Sending(reactor, workers, STALL_SECONDS)

    def add_to(self, app: Klein) -> None:
        """Add the routes. Those of one word that are added later do not hide them."""

        @app.route("/export", methods=["POST"])
        def export(request: IRequest) -> "Deferred[bytes | None]":
            return shield(self._export(cast(StreamingRequest, request)), _log_unanswered)

        @app.route("/import", methods=["POST"])
        def import_(request: IRequest) -> "Deferred[bytes]":
            return shield(self._import(cast(StreamingRequest, request)), _log_unanswered)

    async def _export(self, request: StreamingRequest) -> bytes | None:
        repository, reference = parse_reference(parameter(request, "name") or "")
        work = self._registry.exporter.export(repository, reference)
        export = await explained(self._registry, repository, reference, work)
        headers = {"Content-Type": "application/vnd.ipld.car", ROOT_HEADER: export.root}
        reply(request, 200, {**headers, MISSING_HEADER: len(export.missing)})
        request.setHeader(b"Content-Length", b"%d" % export.length)
        await self._sending.send_pieces(request, export.pieces())
        return None

    async def _import(self, request: StreamingRequest) -> bytes:
        pieces = Pieces()
        request.body.copy_to(pieces).addBoth(pieces.end)
        try:
            imported = await self._registry.importer.run(pieces, parameter(request, "name"))
        except BaseException:
            pieces.stop()
            raise
        result = {
            "name": imported.name,
            "digest": str(imported.digest),
            "missing": [str(each) for each in imported.missing],
        }
        return json.dumps(result).encode()


def _log_unanswered(failure: Failure) -> None:
    if not failure.check(ClientGone, RegistryError):
        if failure.check(BucketError):
            _log.error("What a command asked for failed: {error}", error=failure.value)
        else:
            _log.failure("what a command asked for failed, when nobody waited for it any more", failure)
