"""The product's calls to a double, for tests of what is built on them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet import reactor as default_reactor

from ipfsreg.bucket.breaker import Breaker
from ipfsreg.bucket.textile.client import TextileClient
from ipfsreg.bucket.textile.identity import Identity
from ipfsreg.bucket.textile.service import ShardService
from ipfsreg.bucket.textile.shard import Shard
from ipfsreg.bucket.textile.signing import CallMetadata
from ipfsreg.grpcweb.channel import Channel

from .double import TextileDouble
from .double.bucket import Bucket

reactor: Any = default_reactor

SECONDS = 10.0


@asynccontextmanager
async def client_of(
    double: TextileDouble, metadata: CallMetadata, identity: Identity | None = None
) -> AsyncIterator[TextileClient]:
    """A client of a double, closed afterwards."""
    breaker = Breaker("the double", reactor)
    client = TextileClient(Channel(reactor, double.url), metadata, identity, breaker, reactor, SECONDS, SECONDS)
    try:
        yield client
    finally:
        await client.stop()


def service_of(client: TextileClient, bucket: Bucket) -> ShardService:
    """The calls about one bucket of a double."""
    return ShardService(client, cast(Shard, SimpleNamespace(key=bucket.key, thread=bucket.thread)))
