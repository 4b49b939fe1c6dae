"""The threads that do disk and CPU work, so that the reactor never waits for either."""

import sys
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_SWITCH_SECONDS = 0.001
"""For how long a thread that computes may keep the reactor waiting at a time. Python's own 5 ms add up, for the reactor
waits anew after each system call."""

P = ParamSpec("P")
T = TypeVar("T")

_Work = tuple["Deferred[Any]", Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Workers(Service):
    """A bounded number of threads with the life of a service. They are started when there is work for them.

    They are not the reactor's, so that a slow disk cannot hold up name look-ups. Twisted's `ThreadPool` would do, but
    takes 70 µs of processor time for each piece of work, most of it for a queue and locks that are written in Python:
    more than many a piece itself. This takes 8.
    """

    def __init__(self, reactor: Any, threads: int) -> None:
        self._reactor = reactor
        self._most = threads
        self._threads: list[Thread] = []
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._done: deque[tuple[Deferred[Any], Any]] = deque()
        self._will_deliver = False
        self._under_way = 0

    def startService(self) -> None:
        """Do what was given so far, and what is given from now on."""
        super().startService()
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._start_threads()

    def stopService(self) -> None:
        """Let all that was given so far be done, then end the threads."""
        super().stopService()
        threads, self._threads = self._threads, []
        for _ in threads:
            self._work.put(None)
        for each in threads:
            each.join()

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Deferred[T]":
        """Call ``function`` in a thread; fires in the reactor with its result or its exception.

        Give it sensible pieces: what one call does cannot be cancelled, and shutdown waits for it.
        """
        done: Deferred[T] = Deferred()
        self._work.put((done, function, args, kwargs))
        self._under_way += 1
        if self.running:
            self._start_threads()
        return done

    def _start_threads(self) -> None:
        while len(self._threads) < min(self._under_way, self._most):
            thread = Thread(target=self._serve, name=f"ipfsreg-disk-{len(self._threads)}")
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        # In a thread. It keeps nothing of what it was given while it waits for more.
        while (work := self._work.get()) is not None:
            done, function, args, kwargs = work
            try:
                result = function(*args, **kwargs)
            except BaseException:
                result = Failure()
            self._done.append((done, result))
            del work, done, function, args, kwargs, result
            # The reactor takes this back before it looks what there is, so nothing is left behind.
            if not self._will_deliver:
                self._will_deliver = True
                self._reactor.callFromThread(self._deliver)

    def _deliver(self) -> None:
        self._will_deliver = False
        for _ in range(len(self._done)):
            done, result = self._done.popleft()
            self._under_way -= 1
            if isinstance(result, Failure):
                done.errback(result)
            else:
                done.callback(result)
