"""The twistd plugin's options and service: ``twistd -n ipfsreg``."""

import gc
import os
import resource
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.internet.protocol import Factory
from twisted.python import usage

from .app.assembly import load_config, make_daemon
from .bucket.errors import SetupError
from .config.errors import ConfigError
from .config.file import find_config
from .config.sections import Config

_EXIT_USAGE = 2
_DESCRIPTORS = 65536


class Options(usage.Options):
    """``--config FILE``; without it ./ipfsreg.ini, the user's and the system's file are looked for."""

    synopsis = "[--config FILE]"
    longdesc = "A container registry whose storage is IPFS. Without a configuration file the defaults run."
    optParameters = [["config", "c", None, "the configuration file", Path]]

    config: Config

    def postOptions(self) -> None:
        """Read the configuration; what is wrong with it ends the program with one line."""
        from twisted.internet import reactor  # twistd may have installed another one by now

        try:
            self.config = load_config(self["config"] or find_config(), reactor)
        except ConfigError as error:
            _exit_with(error)


def makeService(options: Options) -> IService:
    """The daemon for a configuration."""
    from twisted.internet import reactor

    _allow_many_descriptors()
    Factory.noisy = False  # the log is for what happens, not for each of our listeners and connections
    try:
        service: IService = make_daemon(options.config, reactor, partial(_stop_with, reactor, options.parent))
    except SetupError as error:
        _exit_with(error)
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


def _exit_with(error: Exception) -> NoReturn:
    _say(str(error))
    raise SystemExit(_EXIT_USAGE) from None


def _stop_with(reactor: Any, twistd: Mapping[str, Any] | None, message: str) -> None:
    """End a daemon whose reactor runs, or is about to, with the status of a failure.

    twistd itself has no way to: it takes every exception of a running reactor for one that is to be logged, and ends
    with status 0. A service manager has to be told, so the process ends as soon as everything is stopped.
    """
    _say(message)
    reactor.addSystemEventTrigger("after", "shutdown", _end_process, (twistd or {}).get("pidfile"))
    reactor.callWhenRunning(reactor.stop)


def _end_process(pid_file: str | None) -> None:
    if pid_file:
        Path(pid_file).unlink(missing_ok=True)  # as twistd would now
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    os._exit(_EXIT_USAGE)


def _say(message: str) -> None:
    print(f"ipfsreg: {message}", file=sys.stderr, flush=True)  # noqa: T201
