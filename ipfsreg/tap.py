"""The twistd plugin's options and service: ``twistd -n ipfsreg``."""

import atexit
import gc
import os
import resource
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.protocol import Factory
from twisted.python import usage

from .app.daemon import Daemon
from .config.file import Config, ConfigError, find_config, load_config

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
            print(f"ipfsreg: {error}", file=sys.stderr)  # noqa: T201
            raise SystemExit(_EXIT_USAGE) from None


def makeService(options: Options) -> IService:
    """The daemon for a configuration."""
    from twisted.internet import reactor

    _allow_many_descriptors()
    Factory.noisy = False  # the log is for what happens, not for each of our listeners and connections
    service: IService = Daemon(options.config, reactor, _fail_with(reactor))
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


def _fail_with(reactor: Any) -> Any:
    def fail(message: str) -> None:
        print(f"ipfsreg: {message}", file=sys.stderr, flush=True)  # noqa: T201
        # twistd ends with status 0 whatever happened; a service manager has to be told.
        atexit.register(os._exit, _EXIT_USAGE)
        reactor.callWhenRunning(reactor.stop)  # the reactor may not have begun yet

    return fail
