"""A directory of the node as a bucket that cannot be changed."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ipfsreg.bucket.errors import Unchangeable
from ipfsreg.bucket.interface import IBucket

from .tree import Looking, Tree


@implementer(IBucket)
class ReadOnlyTree(Tree):
    """See `Tree`. ``why`` is what a change is answered."""

    shared = True

    def __init__(self, contents: Looking, root: Callable[[], Awaitable[str]], name: str, why: str) -> None:
        super().__init__(contents, root)
        self.name = name
        self._why = why

    def start(self) -> "Deferred[None]":
        """See `IBucket.start`."""
        return succeed(None)

    def stop(self) -> "Deferred[None]":
        """See `IBucket.stop`."""
        return succeed(None)

    def put(self, path: str, content: bytes) -> "Deferred[None]":
        """See `IBucket.put`."""
        return self._refuse()

    def put_file(self, path: str, source: Path) -> "Deferred[None]":
        """See `IBucket.put_file`."""
        return self._refuse()

    def move(self, source: str, destination: str) -> "Deferred[None]":
        """See `IBucket.move`."""
        return self._refuse()

    def remove(self, path: str) -> "Deferred[None]":
        """See `IBucket.remove`."""
        return self._refuse()

    def _refuse(self) -> "Deferred[None]":
        return fail(Unchangeable(f"{self.name} cannot be changed: {self._why}"))
