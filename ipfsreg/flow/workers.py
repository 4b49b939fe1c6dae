"""The threads that do disk and CPU work, so that the reactor never waits for either."""

import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

_SWITCH_SECONDS = 0.001
"""For how long a thread that computes may keep the reactor waiting at a time. Python's own 5 ms add up, for the reactor
waits anew after each system call."""

P = ParamSpec("P")
T = TypeVar("T")


class Workers(Service):
    """A bounded pool of threads with the life of a service.

    It is ours, and not the reactor's default pool, so that a slow disk cannot hold up name look-ups.
    """

    def __init__(self, reactor: Any, threads: int) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=min(2, threads), maxthreads=threads, name="ipfsreg-disk")

    def startService(self) -> None:
        """Start the threads; work may be given from now on."""
        super().startService()
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._pool.start()

    def stopService(self) -> None:
        """Let the pieces of work under way end, then end the threads."""
        super().stopService()
        self._pool.stop()

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        """Call ``function`` in a thread; fires in the reactor with its result or its exception.

        Give it sensible pieces: what one call does cannot be cancelled, and shutdown waits for it.
        """
        return deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs)
