"""Starts `twistd` and `ipfsreg` quickly: from a process that has loaded the libraries, which is most of a start.

Each command is a process of its own, forked before a reactor or anything that looks at the environment was loaded, with
its own arguments, environment, directory and descriptors. All that differs is how the interpreter begins. Where `use`
was not called, as in benchmarks, commands are started anew. ``python -c CODE`` is forked too.
"""

import atexit
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, TextIO

LOADED = (
    "cachetools",
    "cbor2",
    "click",
    "durationpy",
    "encodings.idna",
    "encodings.utf_8_sig",
    "google.protobuf.internal.python_message",
    "h11",
    "httptools",
    "ipfsreg.access.rules",
    "ipfsreg.access.watched",
    "ipfsreg.app.access_control",
    "ipfsreg.app.access_file",
    "ipfsreg.app.assembly",
    "ipfsreg.app.certificates",
    "ipfsreg.app.control.tasks",
    "ipfsreg.app.encryption",
    "ipfsreg.app.log_output",
    "ipfsreg.app.peer_id",
    "ipfsreg.app.reloading",
    "ipfsreg.app.webhooks.event_logging",
    "ipfsreg.app.webhooks.webhooks",
    "ipfsreg.bucket.cache.disk_cache",
    "ipfsreg.bucket.kubo.backend",
    "ipfsreg.bucket.local.backend",
    "ipfsreg.bucket.space.backend",
    "ipfsreg.bucket.textile.backend",
    "ipfsreg.cli.access",
    "ipfsreg.cli.accounts",
    "ipfsreg.cli.alone",
    "ipfsreg.cli.contents",
    "ipfsreg.cli.converting",
    "ipfsreg.cli.copy",
    "ipfsreg.cli.daemon_client",
    "ipfsreg.cli.images",
    "ipfsreg.cli.main",
    "ipfsreg.cli.remote",
    "ipfsreg.cli.retention",
    "ipfsreg.cli.socket_registry",
    "ipfsreg.cli.space",
    "ipfsreg.cli.team",
    "ipfsreg.cli.textile",
    "ipfsreg.cli.upkeep",
    "ipfsreg.copying.car",
    "ipfsreg.copying.copier",
    "ipfsreg.copying.layout",
    "ipfsreg.registry.events.event_log",
    "ipfsreg.registry.ipfs.car_spool",
    "ipfsreg.registry.ipfs.exporting",
    "ipfsreg.registry.original",
    "ipfsreg.registry.upkeep.collector",
    "ipfsreg.registry.upkeep.verifier",
    "ipfsreg.tap",
    "ipfsreg.web.browsers",
    "ipfsreg.web.gateway.trustless",
    "ipfsreg.web.http.access_log",
    "ipfsreg.web.pages.contents",
    "ipfsreg.web.pages.rendering",
    "ipfsreg.web.request_rate",
    "ipfsreg.web.visitors",
    "mmh3",
    "multibase",
    "nacl.signing",
    "platformdirs.unix",
    "pydantic.dataclasses",
    "pydantic.json_schema",
    "pydantic.main",
    "pydantic.type_adapter",
    "sqlite3",
    "treq.client",
    "twisted.application.internet",
    "twisted.internet.endpoints",
    "twisted.internet.epollreactor",
    "twisted.scripts.twistd",
    "twisted.web.client",
    "twisted.web.server",
    "twisted.web.template",
    "werkzeug.routing",
    "wsproto",
)
COMMANDS = ("twistd", "ipfsreg")
_REQUEST_MAX = 128 * 1024


class Forked:
    """A command that the server has started, with what `subprocess.Popen` has."""

    def __init__(self, report: socket.socket) -> None:
        self.returncode: int | None = None
        self._report = report
        self._received = b""
        self.pid = self._next_number()

    def poll(self) -> int | None:
        """The status with which it ended, or None while it runs."""
        if self.returncode is None and (b"\n" in self._received or select.select([self._report], [], [], 0)[0]):
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; answers its status."""
        if self.returncode is None:
            self._report.settimeout(timeout)
            try:
                self.returncode = self._next_number()
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            self._report.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _next_number(self) -> int:
        while b"\n" not in self._received:
            more = self._report.recv(100)
            if not more:
                raise RuntimeError("the fork server has ended")
            self._received += more
        number, _, self._received = self._received.partition(b"\n")
        return int(number)


Started = Forked | subprocess.Popen[bytes]


class _Server:
    """The server, as its one client sees it."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=theirs.fileno(), env=environment | {"PYTHONUNBUFFERED": "1"}
            )
        atexit.register(self._end)

    def start(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], descriptors: Sequence[int]) -> Forked:
        request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}).encode()
        report, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._requests, [request], [*descriptors, theirs.fileno()])
        return Forked(report)

    def _end(self) -> None:
        self._requests.close()
        self._process.wait(10)


_server: _Server | None = None
_used = False


def use() -> None:
    """From now on commands are forked."""
    global _used
    _used = True


def start(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: IO[bytes],
    stdout: IO[bytes],
    stderr: IO[bytes],
) -> Started:
    """Start a command, given by its path and its arguments."""
    global _server
    known = [str(Path(sys.executable).with_name(each)) for each in COMMANDS]
    is_known = arguments[0] in known or list(arguments[:2]) == [sys.executable, "-c"]
    for_python = {name for name in env if name.startswith("PYTHON")}  # read when an interpreter begins
    if not _used or not is_known or for_python - {"PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}:
        return subprocess.Popen(arguments, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env)
    if _server is None:
        _server = _Server()
    return _server.start(arguments, cwd, env, [file.fileno() for file in (stdin, stdout, stderr)])


def run(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float = 60.0,
    input: bytes = b"",
    stdout: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its status.

    :param stdout: where its output goes, if it is not to be in the answer.
    """
    with tempfile.TemporaryFile() as typed, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        typed.write(input)
        typed.seek(0)
        process = start(arguments, cwd=cwd, env=env, stdin=typed, stdout=stdout or out, stderr=errors)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        said = []
        for file in (out, errors):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(list(arguments), status, *said)


_REACTOR = "twisted.internet.reactor"


def _use_once() -> None:
    """Look through `twistd`'s plugins and make a daemon, which is not started: much is compiled for the first."""
    from twisted.application.service import IServiceMaker
    from twisted.internet.task import Clock
    from twisted.plugin import getPlugins

    from ipfsreg.app.assembly import make_daemon
    from ipfsreg.app.configuration import load_config

    list(getPlugins(IServiceMaker))
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "ipfsreg.ini")
        file.write_text(f"[local]\npath = {directory}\n")
        make_daemon(load_config(file, Clock()), Clock(), print)


_status: int | None = None
"""With what a command ends by itself."""


def _serve() -> None:
    atexit.register(_end_at_once)  # before what the libraries register, which is called in the opposite order
    # Klein wants the reactor when it is loaded, for a method that nobody here calls; each command makes its own.
    sys.modules[_REACTOR] = types.ModuleType(_REACTOR)
    for name in LOADED:
        importlib.import_module(name)
    _use_once()
    del sys.modules[_REACTOR]
    gc.collect()
    gc.freeze()
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commands
    requests = socket.socket(fileno=0)
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_MAX, 4)
        if not data:
            requests.detach()
            return
        if os.fork() == 0:
            break
        for each in descriptors:
            os.close(each)
        _reap()
    # A process between, which waits for the command and tells how it ended.
    *standard, report = descriptors
    command = os.fork()
    if command == 0:
        requests.detach()
        signal.signal(signal.SIGINT, interrupt)
        _become(json.loads(data), standard)
        return
    for each in standard:
        os.close(each)
    with socket.socket(fileno=report) as told:
        told.sendall(b"%d\n" % command)
        _, status = os.waitpid(command, 0)
        told.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _unbuffered(descriptor: int, as_it_was: TextIO) -> TextIO:
    raw = os.fdopen(descriptor, "wb", 0, closefd=False)
    return io.TextIOWrapper(raw, as_it_was.encoding, as_it_was.errors, write_through=True)


def _become(request: dict[str, object], standard: Sequence[int]) -> None:
    arguments, cwd, env = request["arguments"], request["cwd"], request["env"]
    assert isinstance(arguments, list)
    assert isinstance(cwd, str)
    assert isinstance(env, dict)
    for number, each in enumerate(standard):
        os.dup2(each, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdin = os.fdopen(0, closefd=False)
    # The server's own know what kind of file they had.
    sys.stdout, sys.stderr = _unbuffered(1, sys.stdout), _unbuffered(2, sys.stderr)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env, PYDANTIC_DISABLE_PLUGINS="__all__")  # as `ipfsreg.config` does when it is loaded
    time.tzset()
    command: Callable[[], object]
    if arguments[1:2] == ["-c"]:
        sys.argv, sys.path[0] = arguments[1:2] + arguments[3:], ""
        command = partial(exec, arguments[2], {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = arguments, str(Path(arguments[0]).parent)
        if Path(arguments[0]).name == "twistd":
            from twisted.scripts.twistd import run as command
        else:
            from ipfsreg.cli import run as command
    global _status
    try:
        command()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            _status = end.code or 0
        raise
    _status = 0


def _end_at_once() -> None:
    """Called last of all at exit: leaves the memory to the system.

    The interpreter would take apart what was loaded before the fork, and thereby copy it, which takes longer than most
    commands. An unusual end is left to the interpreter.
    """
    if _status is None:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(_status)


if __name__ == "__main__":
    _serve()
