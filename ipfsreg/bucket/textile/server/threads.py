"""The threads of a server by name: found, or made once."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.textile.proto import threads_pb2, usersd_pb2
from ipfsreg.flow.single_flight import SingleFlight

from .client import THREADS, USERS, TextileClient

KNOWN_SECONDS = 3.0
"""For how long the list of threads is cached: another daemon may make one."""

_RAW_THREAD = b"\x01\x55"  # version 1, variant "raw": docs/protocols/textile.md, "Threads"


class Threads:
    """Names of threads and their ids, as the server has them.

    All daemons choose the same thread, and only one of them makes it. On a hub a name is unique for an account. On a
    buckd several threads may have it, and the one with the lowest id is ours; but ids are unique there and the
    client's to choose, so what we make has one that follows from the name.
    """

    def __init__(self, client: TextileClient, clock: IReactorTime) -> None:
        self._client = client
        self._clock = clock
        self._ids: dict[str, bytes] = {}
        self._all: dict[str, list[bytes]] = {}
        self._listed: float | None = None
        self._creating: DeferredLock = DeferredLock()
        self._listing = SingleFlight(self._list)

    async def known(self, since: float | None = None) -> Mapping[str, bytes]:
        """The ids of all threads by name, as the server said at most `KNOWN_SECONDS` ago, or after ``since``."""
        if since is None:
            since = self._clock.seconds() - KNOWN_SECONDS
        while self._listed is None or self._listed < since:
            await self._listing.outcome()
        return self._ids

    async def find(self, name: str) -> bytes | None:
        """A thread's id, or None where the server says that there is none of that name."""
        return (await self.known()).get(name)

    async def find_all(self, name: str) -> Sequence[bytes]:
        """The ids of all threads of a name, the lowest first."""
        await self.known()
        return self._all.get(name, [])

    async def find_or_create(self, name: str) -> tuple[bytes, bool]:
        """A thread's id, and whether it was made for this call: where the server says that there is none."""
        async with self._creating:
            await self._list()
            made = name not in self._ids and await self._create(name)
            return self._ids[name], made

    def forget(self) -> None:
        """Ask the server anew the next time."""
        self._listed = None

    async def _list(self) -> None:
        began = self._clock.seconds()
        if self._client.is_hub:
            threads = await self._client.unary(
                USERS, "ListThreads", usersd_pb2.ListThreadsRequest(), usersd_pb2.ListThreadsResponse
            )
            pairs = [(each.name, each.id) for each in threads.list]
        else:
            databases = await self._client.unary(
                THREADS, "ListDBs", threads_pb2.ListDBsRequest(), threads_pb2.ListDBsReply
            )
            pairs = [(each.info.name, each.db_id) for each in databases.dbs]
        found: dict[str, list[bytes]] = {}
        for name, identifier in sorted(pairs):
            found.setdefault(name, []).append(identifier)
        self._all = found
        self._ids = {name: identifiers[0] for name, identifiers in found.items()}
        self._listed = began

    async def _create(self, name: str) -> bool:
        # A hub's ids are unique for all its accounts, its names for one: there the name decides who was first.
        unique = (
            secrets.token_bytes(32) if self._client.is_hub else hashlib.sha256(b"ipfsreg\0" + name.encode()).digest()
        )
        request = threads_pb2.NewDBRequest(db_id=_RAW_THREAD + unique, name=name)
        try:
            await self._client.unary(THREADS, "NewDB", request, threads_pb2.NewDBReply, thread_name=name)
        except BucketError:
            # Another daemon may have made it at the same moment, or our connection broke after the server did.
            await self._list()
            if name not in self._ids:
                raise
            return False
        await self._list()
        self._ids.setdefault(name, request.db_id)
        return True
