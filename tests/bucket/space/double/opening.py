"""OpenFile: a plaintext copy on the daemon's machine (docs/protocols/space.md, "Opening files")."""

import os
import secrets
from pathlib import Path

from ipfsreg.bucket.space.proto import space_pb2
from tests.bucket.textile.double.content import ContentLostError
from tests.bucket.textile.double.tree import Directory, File, follow
from tests.grpcweb_double.call import UNIMPLEMENTED, UNKNOWN, Call, RpcError
from tests.grpcweb_double.pace import Pace

from .account import Record
from .adding import plain_path
from .base import SpaceBase
from .cipher import CorruptError
from .opened import Source


class Opening(SpaceBase):
    """The one method."""

    async def OpenFile(self, call: Call, request: space_pb2.OpenFileRequest) -> space_pb2.OpenFileResponse:
        if request.dbId:
            raise RpcError(UNIMPLEMENTED, "the double has no files received from others")
        record, bucket = await self.find(call, request.bucket)
        node = follow(bucket.root, record.cipher.encrypt_path(request.path))
        if isinstance(node, Directory):
            raise RpcError(UNKNOWN, "node is a directory")
        if self.world.faults.deadlocks:
            self.world.faults.deadlocks -= 1
            await call.until_cancelled()
        source = Source(record.slug, plain_path(request.path), request.dbId, node.cid)
        opened = self.world.opened
        location = opened.find(source)
        if location is None:
            location = await self._copy(call, record, source.path, node)
            opened.add(source, location)
        else:
            opened.watch(source, location)
        return space_pb2.OpenFileResponse(location=str(location))

    async def _copy(self, call: Call, record: Record, path: str, file: File) -> Path:
        """Decrypt into a new file. What a failure leaves of it stays, as the real daemon leaves it."""
        location = self.world.temporary / f"{secrets.randbelow(10**10)}-{path.rpartition('/')[2]}"
        descriptor = os.open(location, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        pace = Pace(call, self.world.faults.pull_bytes_per_second)
        try:
            with os.fdopen(descriptor, "wb") as copy:
                for piece in record.cipher.opened(file.content):
                    copy.write(piece)
                    await pace.moved(len(piece))
                    await call.breathe()
                    call.check()
        except CorruptError:
            raise RpcError(UNKNOWN, "message corrupt or incorrect keys") from None
        except ContentLostError:
            text = f"block was not found locally (offline): ipld: could not find {file.cid}"
            raise RpcError(UNKNOWN, text) from None
        if (record.slug, path) in self.world.faults.corrupt:
            raise RpcError(UNKNOWN, "message corrupt or incorrect keys")
        spoil(location, call)
        return location


def spoil(location: Path, call: Call) -> None:
    """Do to a copy what a fault says: the caller is told nothing of it."""
    plan = call.plan
    if plan.truncate is not None:
        os.truncate(location, plan.truncate)
    if plan.alter:
        data = bytearray(location.read_bytes())
        data[0] ^= 0xFF
        location.write_bytes(data)
