"""The load generator of the manifest figures, a process of its own: keep-alive connections and epoll.

wrk cannot do it alone: it never completes a HEAD whose answer has a Content-Length. This one sends bytes that
were made beforehand and looks for no more than the end of each answer; it reports its own CPU time, so that a
reader sees whether it was the bottleneck. Where wrk is installed, GET is measured with both.
"""

import json
import re
import select
import shutil
import socket
import subprocess
import sys
import time
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import BenchError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_GRACE = 30.0


class LoadError(BenchError):
    """An answer was not 200, or a connection ended."""


@dataclass(frozen=True)
class Load:
    """What a run saw: how many answers, how many each second, latencies in milliseconds, its own share of one core."""

    answers: int
    per_second: float
    latency_median: float
    latency_p99: float
    latency_longest: float
    generator_share: float


def run(
    port: int,
    method: str,
    paths: list[str],
    accept: str,
    connections: int,
    seconds: float,
    authorization: str | None = None,
) -> Load:
    """Ask for the paths in turn on each connection, again and again, for that time.

    ``authorization`` is the value of that header.

    :raises LoadError: where one answer was not a whole 200.
    """
    job = {
        "port": port,
        "method": method,
        "paths": paths,
        "accept": accept,
        "connections": connections,
        "seconds": seconds,
        "authorization": authorization,
    }
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parent.parent,
        timeout=seconds + 2 * _GRACE,
    )
    if done.returncode:
        raise LoadError(done.stderr.strip()[-2000:])
    return Load(**json.loads(done.stdout))


def wrk_available() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None


def run_wrk(port: int, path: str, accept: str, connections: int, seconds: float) -> float:
    """GET one path with wrk; returns requests each second.

    :raises LoadError: where wrk saw an answer that was not 2xx, or its output is not understood.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-H", f"Accept: {accept}"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{path}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 2 * _GRACE,
    )
    found = re.search(r"^Requests/sec: *([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode or found is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise LoadError(f"wrk: {done.stdout} {done.stderr}")
    return float(found[1])


class _Connection:
    """One keep-alive connection: a request is sent as soon as the answer before has come."""

    def __init__(self, port: int, requests: list[bytes], first: int, has_body: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_GRACE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._next = first
        self._has_body = has_body
        self._received = b""
        self._sent_at = 0.0

    def send(self) -> None:
        self._sent_at = time.perf_counter()
        self.socket.sendall(self._requests[self._next])
        self._next = (self._next + 1) % len(self._requests)

    def receive(self) -> float | None:
        """Take what has come; the latency in seconds if that completes the answer."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise LoadError("the registry closed a connection")
        received = self._received + chunk
        end = received.find(b"\r\n\r\n")
        if end < 0 or len(received) < end + 4 + self._body_length(received, end):
            self._received = received
            return None
        if not received.startswith(b"HTTP/1.1 200 "):
            raise LoadError(f"not a 200: {received[:300]!r}")
        self._received = b""
        return time.perf_counter() - self._sent_at

    def _body_length(self, received: bytes, end: int) -> int:
        if not self._has_body:
            return 0
        length = _LENGTH.search(received, 0, end + 2)
        if length is None:
            raise LoadError(f"an answer without a Content-Length: {received[:300]!r}")
        return int(length[1])


def _work(job: dict[str, Any]) -> Load:
    headers = f"Host: 127.0.0.1:{job['port']}\r\nAccept: {job['accept']}\r\n"
    if job["authorization"] is not None:
        headers += f"Authorization: {job['authorization']}\r\n"
    requests = [f"{job['method']} {path} HTTP/1.1\r\n{headers}\r\n".encode() for path in job["paths"]]
    poll = select.epoll()
    connections: dict[int, _Connection] = {}
    for number in range(job["connections"]):
        connection = _Connection(job["port"], requests, number % len(requests), job["method"] != "HEAD")
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket.fileno(), select.EPOLLIN)
    latencies = array("d")
    started, cpu = time.perf_counter(), time.process_time()
    until = started + job["seconds"]
    for connection in connections.values():
        connection.send()
    while time.perf_counter() < until or not latencies:
        ready = poll.poll(_GRACE)
        if not ready:
            raise LoadError(f"no answer within {_GRACE:g} s")
        for descriptor, _ in ready:
            connection = connections[descriptor]
            latency = connection.receive()
            if latency is not None:
                latencies.append(latency)
                connection.send()
    took, used = time.perf_counter() - started, time.process_time() - cpu
    for connection in connections.values():
        connection.socket.close()
    ordered = sorted(latencies)
    return Load(
        answers=len(ordered),
        per_second=len(ordered) / took,
        latency_median=1000 * ordered[len(ordered) // 2],
        latency_p99=1000 * ordered[len(ordered) * 99 // 100],
        latency_longest=1000 * ordered[-1],
        generator_share=used / took,
    )


def _main() -> None:
    json.dump(asdict(_work(json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    _main()
