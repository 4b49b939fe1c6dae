"""The reactor, run for one command."""

import gc
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from ipfsreg.app.control.events import TELLING, http_status
from ipfsreg.flow.clock import run_by_monotonic_clock

from .errors import ControlError, Exit

T = TypeVar("T")


class Failed(Exception):
    """The work failed, and ``why`` is an error that a user can understand."""

    def __init__(self, why: Exception, status: Exit) -> None:
        super().__init__(str(why))
        self.why = why
        self.status = status


def run(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """What some work in the reactor answers.

    Ctrl-C cancels it, and ends the program when that has been cleaned up after; a second one ends it at once.

    :raises Failed: where the user is to be told in one line. Any other failure is raised as it is.
    """
    from twisted.internet import reactor

    run_by_monotonic_clock(reactor)
    outcome: list[T | Failure] = []
    interrupted = False

    def main(reactor: Any) -> "Deferred[None]":
        done = Deferred.fromCoroutine(work(reactor)).addBoth(outcome.append)
        reactor.addSystemEventTrigger("before", "shutdown", stop, done)
        return done

    def stop(done: "Deferred[None]") -> "Deferred[None]":
        nonlocal interrupted
        interrupted = not done.called
        if interrupted:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second one ends the program at once
        done.cancel()
        return done

    gc.freeze()  # see `ipfsreg.cli.run`
    gc.enable()
    try:
        react(main)
    except SystemExit:
        if interrupted:
            raise click.Abort from None
    (result,) = outcome
    if not isinstance(result, Failure):
        return result
    error = result.value
    if isinstance(error, ControlError):
        raise Failed(error, error.status)
    if isinstance(error, TELLING):
        raise Failed(error, Exit.of(http_status(error)))
    result.raiseException()
    raise AssertionError("not reached")
