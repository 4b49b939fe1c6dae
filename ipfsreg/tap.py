"""The twistd plugin's options and service: ``twistd -n ipfsreg``."""

import gc
import resource
import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.protocol import Factory
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python import usage
from zope.interface import provider

from .app.assembly import load_config, make_daemon
from .bucket.errors import SetupError
from .config.errors import ConfigError
from .config.file import find_config

_EXIT_USAGE = 2
_DESCRIPTORS = 65536
_LAST_EVENT = "Server Shut Down."  # of twistd, when its reactor has ended and its pid file is gone


class Options(usage.Options):
    """``--config FILE``; without it ./ipfsreg.ini, the user's and the system's file are looked for."""

    synopsis = "[--config FILE]"
    longdesc = "A container registry whose storage is IPFS. Without a configuration file the defaults run."
    optParameters = [["config", "c", None, "the configuration file", Path]]


def makeService(options: Options) -> IService:
    """The daemon for a configuration; what is wrong with that ends the program with one line."""
    from twisted.internet import reactor  # twistd may have installed another one by now

    _allow_many_descriptors()
    Factory.noisy = False  # the log is for what happens, not for each of our listeners and connections
    try:
        config = load_config(options["config"] or find_config(), reactor)
        service: IService = make_daemon(config, reactor, partial(_stop_with, reactor))
    except (ConfigError, SetupError) as error:
        _say(error)
        raise SystemExit(_EXIT_USAGE) from None
    # Python's garbage collector stops everything while it looks at all there is: the program itself it may pass over.
    gc.collect()
    gc.freeze()
    return service


def _allow_many_descriptors() -> None:
    # A download takes three. The usual soft limit of 1,024 is for programs that use `select`.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stop_with(reactor: Any, message: str) -> None:
    """Stop the reactor, which may not have begun yet, and then end the process with the status of a failure.

    A service manager has to be told. twistd logs each exception of a running reactor, and ends with status 0; what it
    lets through is one that comes after the reactor has ended, from an observer of its last event.
    """
    _say(message)
    globalLogPublisher.addObserver(_end_process)
    reactor.callWhenRunning(reactor.stop)


@provider(ILogObserver)
def _end_process(event: LogEvent) -> None:
    if event.get("log_format") == _LAST_EVENT:
        raise SystemExit(_EXIT_USAGE)


def _say(message: object) -> None:
    print(f"ipfsreg: {message}", file=sys.stderr, flush=True)  # noqa: T201
