"""A directory of the node as a bucket that cannot be changed."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from zope.interface import implementer

from ipfsreg.bucket.errors import Unchangeable
from ipfsreg.bucket.interface import IBucket

from .contents import Contents
from .tree import NodeTree


class Life(Protocol):
    """What begins and ends with a bucket."""

    async def start(self) -> None:
        """See `IBucket.start`."""

    async def stop(self) -> None:
        """See `IBucket.stop`."""


@implementer(IBucket)
class ReadOnlyBucket(NodeTree):
    """See `NodeTree`. ``why`` is what a change is answered; without a ``life`` the directory is always the same."""

    def __init__(
        self, contents: Contents, root: Callable[[], Awaitable[str]], name: str, why: str, life: Life | None = None
    ) -> None:
        super().__init__(contents, root)
        self.name = name
        self.shared = life is not None
        self._why = why
        self._life = life

    def start(self) -> "Deferred[None]":
        return succeed(None) if self._life is None else ensureDeferred(self._life.start())

    def stop(self) -> "Deferred[None]":
        return succeed(None) if self._life is None else ensureDeferred(self._life.stop())

    def put(self, *_: object) -> "Deferred[None]":
        """See `IBucket`: every change is refused."""
        return fail(Unchangeable(f"{self.name} cannot be changed: {self._why}"))

    put_file = move = remove = put
