"""How the original program pushes, for `bench.textile` (``python -m bench.textile_original``): a job in, seconds out.

It pushes one file at a time, and for each it looks for thread and bucket first (ListDBs, List), then opens the
PushPath stream while it asks for the root, and sends the root along. Each call is a websocket of its own, as in the
JavaScript client that the program uses. What is kinder to it than life: no HTTP between docker and the program, no
temporary files, no hashing, and content in pieces of 32,000 bytes, where the JavaScript client sends 1024.
"""

import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from ipfsreg.bucket.textile.proto import bucketsd_pb2, threads_pb2
from ipfsreg.bucket.textile.server.client import BUCKETS, THREADS
from ipfsreg.bucket.textile.server.encoding import to_base32
from ipfsreg.bucket.textile.server.signing import CallMetadata
from ipfsreg.grpcweb.channel import Channel, Transport

BUCKET = "original"
_PIECE = 32_000
_DEADLINE = 600.0
_THREAD = b"\x01\x55"


class Original:
    """The calls of the original program, on a buckd without keys.

    ``thread`` is the name of a thread of its own; ``encrypted`` is what a bucket is to be that has to be made.
    """

    def __init__(self, channel: Channel, thread: str, *, encrypted: bool) -> None:
        self._channel = channel
        self._name = thread
        self._encrypted = encrypted
        self._metadata = CallMetadata()

    async def push(self, path: str, content: bytes) -> None:
        """Push a file the way the program does it, from looking for the bucket on.

        :raises RuntimeError: where the server ends the stream without its final event.
        """
        thread, key = await self.get_or_create()
        pushing = self._channel.stream(
            f"/{BUCKETS}/PushPath",
            bucketsd_pb2.PushPathResponse,
            deadline=_DEADLINE,
            metadata=self._metadata(thread),
        )
        final: list[str] = []

        async def take() -> None:
            async for answer in pushing.responses:
                final.extend([answer.event.path] * bool(answer.event.path))

        acknowledged = Deferred.fromCoroutine(take())
        asked = await self._unary(BUCKETS, "Root", bucketsd_pb2.RootRequest(key=key), bucketsd_pb2.RootResponse, thread)
        header = bucketsd_pb2.PushPathRequest.Header(key=key, path=path, root=asked.root.path)
        pushing.requests.send(bucketsd_pb2.PushPathRequest(header=header))
        for start in range(0, len(content), _PIECE):
            if not await pushing.requests.ready():
                break
            pushing.requests.send(bucketsd_pb2.PushPathRequest(chunk=content[start : start + _PIECE]))
        pushing.requests.finish()
        await acknowledged
        if not final:
            raise RuntimeError(f"{path}: the server ended the stream without its final event")

    async def get_or_create(self) -> tuple[str, str]:
        """The thread's id and the bucket's key."""
        found = await self._unary(THREADS, "ListDBs", threads_pb2.ListDBsRequest(), threads_pb2.ListDBsReply, "")
        ours = [each.db_id for each in found.dbs if each.info.name == self._name]
        if ours:
            thread = to_base32(ours[0])
        else:
            identifier = _THREAD + secrets.token_bytes(32)
            request = threads_pb2.NewDBRequest(db_id=identifier, name=self._name)
            await self._unary(THREADS, "NewDB", request, threads_pb2.NewDBReply, "")
            thread = to_base32(identifier)
        listed = await self._unary(BUCKETS, "List", bucketsd_pb2.ListRequest(), bucketsd_pb2.ListResponse, thread)
        for root in listed.roots:
            if root.name == BUCKET:
                return thread, root.key
        create = bucketsd_pb2.CreateRequest(name=BUCKET, private=self._encrypted)
        created = await self._unary(BUCKETS, "Create", create, bucketsd_pb2.CreateResponse, thread)
        return thread, created.root.key

    def _unary(self, service: str, method: str, request: Any, response_type: Any, thread: str) -> "Deferred[Any]":
        return self._channel.unary(
            f"/{service}/{method}",
            request,
            response_type,
            deadline=_DEADLINE,
            metadata=self._metadata(thread),
        )


def _main() -> None:
    job = json.load(sys.stdin)
    payload = Path(job["payload"]).read_bytes()
    files = {path: bytes.fromhex(prefix) + payload[begin:end] for path, prefix, begin, end in job["files"]}

    async def run(reactor: Any) -> None:
        channel = Channel(reactor, job["url"], transport=Transport.WEBSOCKET)
        original = Original(channel, job["thread"], encrypted=job["encrypted"])
        started, cpu = time.perf_counter(), time.process_time()
        for path, content in files.items():
            await original.push(path, content)
        done = {"seconds": time.perf_counter() - started, "client_cpu": time.process_time() - cpu}
        await channel.close()
        sys.stdout.write(json.dumps(done))

    react(lambda reactor: Deferred.fromCoroutine(run(reactor)))


if __name__ == "__main__":
    _main()
