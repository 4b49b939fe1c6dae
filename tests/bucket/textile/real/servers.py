"""Textile's own servers as processes: a bucket daemon or a hub, its IPFS node and its database, all on 127.0.0.1."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, Self

from tests.bucket.kubo.node import OLDEST, KuboNode
from tests.clients.programs import TOOLS, unavailable
from tests.daemon_process import free_port

START_SECONDS = 60.0
STOP_SECONDS = 30.0
DATABASE = "textile"

_NO_THREAD = "bafkqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqoby"

Kind = Literal["buckd", "hubd"]


def require_server(kind: Kind) -> str:
    """The path of a server's program; without it, or what it needs, the test ends."""
    if not list((TOOLS / "share/mongo").glob("main.jar")) or shutil.which("java") is None:
        unavailable("MongoDB's server in Java is not installed (.ci/install-programs installs it)")
    found = shutil.which(kind, path=f"{TOOLS / 'bin'}:{os.environ['PATH']}")
    if found is None:
        unavailable(f"{kind} is not installed (.ci/install-programs installs it)")
    return found


class Process:
    """A program that listens on a port; its port and its files stay the same over `kill` and `start`."""

    def __init__(self, log_file: Path) -> None:
        self.log_file = log_file
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it has written since the first start."""
        return self.log_file.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process id of what runs."""
        assert self._process is not None
        return self._process.pid

    def _start(self, command: list[str], environment: dict[str, str]) -> None:
        """Start it, and return when its port is open."""
        assert self._process is None
        with self.log_file.open("ab") as log:
            # A pipe for its input, which ends when this process does.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        end = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"{command[0]} does not start:\n{self.log}")
            time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it at once (`kill -9`)."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdin is not None:
                process.stdin.close()


class MongoProcess(Process):
    """MongoDB's protocol over a file."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "mongo.log")
        self._file = directory / "mongo.h2"

    @property
    def uri(self) -> str:
        """Where it is."""
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it, and return when it answers."""
        options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command = ["java", *options, "-cp", f"{TOOLS / 'share/mongo'}/*", "Mongo", str(self._file), str(self.port)]
        self._start(command, {"PATH": os.environ["PATH"]})
        return self

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)


class TextileServer(Process):
    """A buckd or hubd beside a database and a node, which are started and ended apart from it."""

    def __init__(self, directory: Path, kind: Kind, mongo: MongoProcess, node: KuboNode) -> None:
        super().__init__(directory / f"{kind}.log")
        self.kind = kind
        self.node = node
        self.mongo = mongo
        self._program = require_server(kind)
        self._directory = directory
        self._ports = {name: free_port() for name in ("addrApi", "addrThreadsHost", "addrGatewayHost")}

    @property
    def url(self) -> str:
        """What ``[textile] host`` is to be."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def gateway(self) -> str:
        """Where its HTTP gateway is."""
        return f"http://127.0.0.1:{self._ports['addrGatewayHost']}"

    def start(self) -> Self:
        """Start it, and return when it answers."""
        addresses = {**self._ports, "addrApiProxy": self.port, "addrIpfsApi": self.node.port}
        options = [f"--{name}=/ip4/127.0.0.1/tcp/{port}" for name, port in addresses.items()]
        options += [f"--addrGatewayUrl={self.gateway}", f"--repo={self._directory / self.kind}"]
        options += [f"--addrMongoUri={self.mongo.uri}", f"--addrMongoName={DATABASE}"]
        self._start([self._program, *options], {"PATH": os.environ["PATH"], "HOME": str(self._directory)})
        if self.kind == "buckd":
            self.await_buckets()
        return self

    def await_buckets(self, key: str = "") -> None:
        """Wait until it has reached itself: it calls its own threads by gRPC, and dials for that before it listens.

        :param key: an API key without signature, which a hub wants.
        """
        headers = {"Content-Type": "application/grpc-web+proto", "x-textile-thread": _NO_THREAD}
        headers |= {"x-textile-api-key": key} if key else {}
        end = time.monotonic() + START_SECONDS
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("POST", "/api.bucketsd.pb.APIService/List", bytes(5), headers)
            message = connection.getresponse().getheader("Grpc-Message", "")
            connection.close()
            if "thread not found" in message:
                return
            if time.monotonic() > end:
                raise RuntimeError(f"the {self.kind} does not come to itself: {message}\n{self.log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGINT)

    def restart(self) -> None:
        """Kill it in the middle of what it does, and start it again."""
        self.kill()
        self.start()


@contextmanager
def running_server(directory: Path, kind: Kind) -> Iterator[TextileServer]:
    """A server that runs for a block, with all that it needs."""
    require_server(kind)
    with ExitStack() as stack:
        mongo = MongoProcess(directory)
        stack.callback(mongo.stop)
        mongo.start()
        node = KuboNode(directory, program=OLDEST)
        stack.callback(node.stop)
        node.start()
        server = TextileServer(directory, kind, mongo, node)
        stack.callback(server.kill)
        yield server.start()
