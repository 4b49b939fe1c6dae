"""The product's calls to a double, for tests of what is built on them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor as default_reactor

from ipfsreg.bucket.breaker import Breaker
from ipfsreg.bucket.textile.server.bucket_calls import BucketCalls
from ipfsreg.bucket.textile.server.client import TextileClient, Timeouts
from ipfsreg.bucket.textile.server.identity import Identity
from ipfsreg.bucket.textile.server.signing import CallMetadata
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
    client = TextileClient(
        Channel(reactor, double.url), metadata, identity, breaker, reactor, Timeouts(SECONDS, SECONDS)
    )
    try:
        yield client
    finally:
        await client.stop()


def service_of(client: TextileClient, bucket: Bucket) -> BucketCalls:
    """The calls about one bucket of a double."""
    return BucketCalls(client, bucket.thread, bucket.key)
