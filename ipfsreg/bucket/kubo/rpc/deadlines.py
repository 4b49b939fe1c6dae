"""The bounds of every wait for a node."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IDelayedCall

from ipfsreg.bucket.errors import BucketError, Unavailable, Unreachable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER

from .body import FormBody

T = TypeVar("T")


class Deadlines:
    """Waits for a node no longer than allowed, and for nothing any more once the daemon stops.

    What goes wrong is a `BucketError`: `Unreachable` where no answer came. ``node`` is what to ask about it then.
    """

    def __init__(self, reactor: Any, node: Callable[[], str]) -> None:
        self._reactor = reactor
        self._node = node
        self._waiting: set[Deferred[Any]] = set()
        self._stopped = False

    def stop(self) -> None:
        """Give up all that is waited for."""
        self._stopped = True
        for work in list(self._waiting):
            work.cancel()

    def check(self) -> None:
        """Refuse to begin anything while the daemon stops. :raises Unavailable:"""
        if self._stopped:
            raise Unavailable("the daemon is stopping")

    async def within(
        self, work: "Deferred[T]", seconds: float, command: str, late: str, body: FormBody | None = None
    ) -> T:
        """The result of what may take so many seconds; ``late`` is what to say after that.

        While a ``body`` is sent it may take any time, but the body must not stand still for so many seconds.
        """
        timer: IDelayedCall

        def look() -> None:
            nonlocal timer
            left = 0.0 if body is None else body.moved + seconds - self._reactor.seconds()
            if left > 0:
                timer = self._reactor.callLater(left, look)
            else:
                work.cancel()

        if body is not None:
            body.has_moved()
        timer = self._reactor.callLater(seconds, look)
        self._waiting.add(work)
        try:
            return await work
        except BucketError:
            raise
        except CancelledError:
            message = "the daemon is stopping" if self._stopped else f"{command}: {late}; {self._node()}"
            raise Unreachable(message, RETRY_AFTER) from None
        except Exception as error:
            message = "the daemon is stopping" if self._stopped else f"{command}: {why(error)}; {self._node()}"
            raise Unreachable(message, RETRY_AFTER) from None
        finally:
            self._waiting.discard(work)
            if timer.active():
                timer.cancel()


def why(error: BaseException | None) -> str:
    """What went wrong with a connection or a request of Twisted's, in one line."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return why(reasons[0].value)
    if isinstance(error, CancelledError):  # given up since nothing came in time
        return "the node does not answer"
    if isinstance(error, ConnectError) and isinstance(error.osError, int):
        return os.strerror(error.osError)
    return " ".join(str(error).split()) or type(error).__name__
