"""Threads, their databases, and tokens: the services threads and users.

See docs/protocols/textile.md, "Identities and tokens" and "Threads".
"""

import random
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from ipfsreg.bucket.textile.proto import threads_pb2, usersd_pb2
from tests.grpcweb_double.call import DEADLINE_EXCEEDED, INVALID_ARGUMENT, NOT_FOUND, UNKNOWN, Call, RpcError
from tests.grpcweb_double.dispatcher import decode

from .accounts import Identity
from .faults import Faults
from .identity import check_thread_id, issue_token, parse_public_key, to_base32
from .settings import Limits

_NAME = re.compile(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_BAD_NAME = (
    "name may only contain alphanumeric characters or non-consecutive hyphens, and cannot begin or end with a hyphen"
)


@dataclass(slots=True)
class Thread:
    """A thread with a database. On a buckd nobody owns it."""

    id: bytes
    name: str
    owner: str
    api_key: str
    key: bytes = field(default_factory=lambda: secrets.token_bytes(64), repr=False)

    @property
    def id_string(self) -> str:
        """The id as it stands in headers."""
        return to_base32(self.id)


class Threads:
    """All threads of a server."""

    def __init__(self, hub: bool, limits: Limits) -> None:
        self._hub = hub
        self._limits = limits
        self.by_id: dict[bytes, Thread] = {}

    def add(self, thread_id: bytes, name: str, identity: Identity) -> Thread:
        """A new thread.

        :raises RpcError: where the id is taken or, on a hub, the owner has one of the name, or too many.
        """
        if thread_id in self.by_id:
            raise RpcError(UNKNOWN, "db already exists")
        owned = [thread for thread in self.by_id.values() if thread.owner == identity.public_key]
        if self._hub:
            if name and any(thread.name.lower() == name.lower() for thread in owned):
                text = "E11000 duplicate key error collection: textile.threads index: name_1_owner_id_1"
                raise RpcError(UNKNOWN, text)
            if self._limits.threads_per_owner is not None and len(owned) >= self._limits.threads_per_owner:
                raise RpcError(UNKNOWN, "number of threads per owner exceeds quota")
        thread = Thread(thread_id, name, identity.public_key if self._hub else "", identity.api_key)
        self.by_id[thread_id] = thread
        return thread

    def get(self, thread_id: bytes) -> Thread:
        """A thread.

        :raises RpcError: where the server has none of this id.
        """
        thread = self.by_id.get(thread_id)
        if thread is None:
            raise RpcError(NOT_FOUND, "thread not found")
        return thread


class ThreadsService:
    """``threads.pb.API``, as far as a client of buckets needs it."""

    def __init__(self, threads: Threads, hub: bool, server_key: SigningKey, faults: Faults, limits: Limits) -> None:
        self._threads = threads
        self._hub = hub
        self._server_key = server_key
        self._faults = faults
        self._limits = limits
        self.make_challenge: Callable[[], bytes] = lambda: secrets.token_bytes(32)
        """What GetToken sends to be signed; a test may want the same each time."""

    async def GetToken(self, call: Call) -> None:
        late = RpcError(DEADLINE_EXCEEDED, "Challenge deadline exceeded")
        first = await self._token_request(call, late)
        if first.WhichOneof("payload") != "key":
            raise RpcError(INVALID_ARGUMENT, "Key is required")
        try:
            public_key = parse_public_key(first.key)
        except ValueError as error:
            raise RpcError(INVALID_ARGUMENT, str(error)) from None
        challenge = self.make_challenge()
        await call.send(threads_pb2.GetTokenReply(challenge=challenge))
        second = await self._token_request(call, late)
        if second.WhichOneof("payload") != "signature":
            raise RpcError(INVALID_ARGUMENT, "Signature is required")
        try:
            public_key.verify(challenge, second.signature)
        except (BadSignatureError, ValueError):
            raise RpcError(UNKNOWN, "bad signature") from None
        token = issue_token(self._server_key, first.key, int(self._faults.now()))
        await call.send(threads_pb2.GetTokenReply(token=token))

    async def _token_request(self, call: Call, late: RpcError) -> threads_pb2.GetTokenRequest:
        payload = await call.receive(self._limits.challenge_seconds, late)
        if call.record.request is None and payload is not None:
            call.record.request = decode(threads_pb2.GetTokenRequest, payload)
        return decode(threads_pb2.GetTokenRequest, payload or b"")

    async def NewDB(self, call: Call, request: threads_pb2.NewDBRequest) -> threads_pb2.NewDBReply:
        try:
            check_thread_id(request.db_id)
        except ValueError as error:
            raise RpcError(INVALID_ARGUMENT, str(error)) from None
        if request.name and not _NAME.fullmatch(request.name):
            raise RpcError(UNKNOWN, _BAD_NAME)
        name = call.metadata.get("x-textile-thread-name", "") if self._hub else request.name or "unnamed"
        self._threads.add(request.db_id, name, call.identity)
        return threads_pb2.NewDBReply()

    async def ListDBs(self, call: Call, request: threads_pb2.ListDBsRequest) -> threads_pb2.ListDBsReply:
        dbs = [
            threads_pb2.ListDBsReply.DB(db_id=thread.id, info=self._info(thread))
            for thread in self._threads.by_id.values()
        ]
        random.shuffle(dbs)  # the real one walks a Go map
        return threads_pb2.ListDBsReply(dbs=dbs)

    async def GetDBInfo(self, call: Call, request: threads_pb2.GetDBInfoRequest) -> threads_pb2.GetDBInfoReply:
        return self._info(self._threads.get(request.db_id))

    async def DeleteDB(self, call: Call, request: threads_pb2.DeleteDBRequest) -> threads_pb2.DeleteDBReply:
        self._threads.get(request.db_id)
        del self._threads.by_id[request.db_id]
        return threads_pb2.DeleteDBReply()

    @staticmethod
    def _info(thread: Thread) -> threads_pb2.GetDBInfoReply:
        address = b"\x04\x7f\x00\x00\x01\x06\x0f\xa6"
        return threads_pb2.GetDBInfoReply(addrs=[address], key=thread.key, name=thread.name)


class UsersService:
    """``api.usersd.pb.APIService``, which only a hub has."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    async def GetThread(self, call: Call, request: usersd_pb2.GetThreadRequest) -> usersd_pb2.GetThreadResponse:
        for thread in self._threads.by_id.values():
            if thread.name == request.name and thread.owner == call.identity.public_key:
                return self._response(thread)
        raise RpcError(NOT_FOUND, "Thread not found")

    async def ListThreads(self, call: Call, request: usersd_pb2.ListThreadsRequest) -> usersd_pb2.ListThreadsResponse:
        owned = [
            self._response(thread)
            for thread in self._threads.by_id.values()
            if thread.owner == call.identity.public_key
        ]
        return usersd_pb2.ListThreadsResponse(list=owned)

    @staticmethod
    def _response(thread: Thread) -> usersd_pb2.GetThreadResponse:
        return usersd_pb2.GetThreadResponse(id=thread.id, name=thread.name, is_db=True)
