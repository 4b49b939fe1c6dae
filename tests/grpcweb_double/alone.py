"""Running a double by itself, as a program; and the test's end of that."""

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from .peer import eventually
from .server import DoubleServer

default_reactor: Any = reactor
ROOT = Path(__file__).parents[2]


def run_until_stopped(double: DoubleServer, known: Mapping[str, str]) -> None:
    """Tell how to reach a double (one line of JSON on standard output), and run the reactor until a signal."""
    sys.stdout.write(json.dumps(known) + "\n")
    sys.stdout.flush()

    def stop(*_: object) -> None:
        stopping = Deferred.fromCoroutine(double.stop())
        stopping.addErrback(lambda failure: failure.printTraceback(sys.stderr))
        stopping.addBoth(lambda _: default_reactor.stop())

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: default_reactor.callFromThread(stop))
    default_reactor.run(installSignalHandlers=False)


class Alone(ProcessProtocol):
    """A double in a process of its own."""

    def __init__(self) -> None:
        self.output = b""
        self.errors = b""
        self.ended: Deferred[int | None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.output += data

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(getattr(reason.value, "exitCode", None))

    async def start(self, package: str, arguments: Sequence[str]) -> Any:
        """Run ``python -m package``, and give what it tells.

        :raises TimeoutError: where it tells nothing.
        """
        command = [sys.executable, "-m", package, *arguments]
        default_reactor.spawnProcess(self, sys.executable, command, env=None, path=str(ROOT))
        await eventually(lambda: b"\n" in self.output, 20)
        return json.loads(self.output)

    async def stop(self) -> None:
        """End it as one does by hand.

        :raises AssertionError: where it fails at that.
        """
        assert self.transport is not None
        self.transport.signalProcess(signal.SIGTERM)
        assert await self.ended == 0, self.errors
