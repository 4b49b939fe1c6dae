"""A directory of the node as a bucket that cannot be changed."""

from typing import Protocol

from twisted.internet.defer import Deferred, ensureDeferred, fail
from zope.interface import implementer

from ipfsreg.bucket.errors import Unchangeable
from ipfsreg.bucket.interface import IBucket

from .contents import Contents
from .tree import Tree


class Served(Protocol):
    """What is served: a directory that may become another one."""

    shared: bool
    """Whether it may."""

    async def root(self) -> str:
        """The CID of the directory as it is now."""

    async def start(self) -> None:
        """See `IBucket.start`."""

    async def stop(self) -> None:
        """See `IBucket.stop`."""


class FixedRoot:
    """A directory that is always the same. See `Served`."""

    shared = False

    def __init__(self, cid: str) -> None:
        self._cid = cid

    async def root(self) -> str:
        """See `Served.root`."""
        return self._cid

    async def start(self) -> None:
        """See `Served.start`."""

    async def stop(self) -> None:
        """See `Served.stop`."""


@implementer(IBucket)
class ReadOnlyBucket(Tree):
    """See `Tree`. ``why`` is what a change is answered."""

    def __init__(self, contents: Contents, served: Served, name: str, why: str) -> None:
        super().__init__(contents, served.root)
        self.name = name
        self.shared = served.shared
        self._served = served
        self._why = why

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`."""
        return ensureDeferred(self._served.start())

    def stop(self) -> "Deferred[None]":
        """See `IBucket.stop`."""
        return ensureDeferred(self._served.stop())

    def put(self, *_: object) -> "Deferred[None]":
        """See `IBucket`: every change is refused."""
        return fail(Unchangeable(f"{self.name} cannot be changed: {self._why}"))

    put_file = move = remove = put
