"""The twistd plugin's options and service: ``twistd -n ipfsreg``."""

import gc
import os
import platform
import resource
import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.protocol import Factory
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from twisted.python import usage
from zope.interface import provider

from . import __version__
from .flow.interrupt import interrupt_ends_at_once

_log = Logger()
_EXIT_USAGE = 2
_DESCRIPTORS = 65536
_PID_FILE = "twistd.pid"  # twistd's default
_LAST_EVENT = "Server Shut Down."  # of twistd, when its reactor has ended and its pid file is gone


class Options(usage.Options):
    """``--config FILE``; without it ./ipfsreg.ini, the user's and the system's file are looked for."""

    synopsis = "[--config FILE]"
    longdesc = "A container registry whose storage is IPFS. Without a configuration file the defaults run."
    optParameters = [["config", "c", None, "the configuration file", Path]]

    def postOptions(self) -> None:
        """See `usage.Options`. What twistd does about its pid file comes after this, and before `makeService`."""
        if self.parent is not None:
            _prepare_pid_file(self.parent)


def makeService(options: Options) -> IService:
    """The daemon for a configuration; what is wrong with that ends the program with one line."""
    from twisted.internet import reactor  # twistd may have installed another one by now

    # Python's garbage collector stops everything while it looks at all there is: the program itself it may pass over,
    # and need not look at while it is loaded.
    gc.disable()
    with interrupt_ends_at_once():
        from .app.assembly import make_daemon
        from .app.configuration import load_config
        from .app.log_output import LoggingTo, log_observer, open_log_file, reopen
        from .app.reloading import Reloadable, Reloading
        from .bucket.errors import SetupError
        from .config.errors import ConfigError
        from .config.file import NO_FILE, find_config
        from .flow.clock import run_by_monotonic_clock

    run_by_monotonic_clock(reactor)
    _allow_many_descriptors()
    Factory.noisy = False  # the log is for what happens, not for each of our listeners and connections
    try:
        config = load_config(options["config"] or find_config(), reactor)
        daemon = make_daemon(config, reactor, partial(_stop_with, reactor))
        log_file = None if options.parent is None else open_log_file(options.parent, reactor)
    except (ConfigError, SetupError) as error:
        _say(error)
        raise SystemExit(_EXIT_USAGE) from None
    _log.info(
        "ipfsreg {version} on Python {python}, {configured}.",
        version=__version__,
        python=platform.python_version(),
        configured="without a configuration file" if config.name == NO_FILE else f"configured by {config.name}",
    )
    reloadables = [] if log_file is None else [Reloadable("the log file", partial(reopen, log_file))]
    observer = None if options.parent is None else log_observer(options.parent, log_file, config.log)
    service = LoggingTo(observer)
    daemon.setServiceParent(service)
    Reloading([*reloadables, *daemon.reloadables], reactor).setServiceParent(service)
    gc.freeze()
    gc.enable()
    return service


def _prepare_pid_file(twistd: usage.Options) -> None:
    """See to it that a pid file stops nobody needlessly, and that one that cannot be written is told in one line.

    In the foreground nobody needs twistd's default one, for the daemon has a lock of its own. One that is left of a
    daemon that was killed may name a process that is there by now: in a container even this one.
    """
    if twistd["nodaemon"] and twistd["pidfile"] == _PID_FILE:
        twistd["pidfile"] = ""
    if not twistd["pidfile"]:
        return
    path = Path(twistd["pidfile"]).absolute()
    try:
        if path.exists():
            if _is_twistd(path.read_text("ascii", "replace").strip()):
                return
            path.unlink()
        path.touch()  # twistd writes it later, and shows a traceback where that cannot be
        path.unlink()
    except OSError as error:
        _say(f"the pid file {path}: {error.strerror}; choose another one with `twistd --pidfile=FILE`")
        raise SystemExit(_EXIT_USAGE) from None


def _is_twistd(number: str) -> bool:
    if not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        return b"twistd" in Path(f"/proc/{number}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


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
