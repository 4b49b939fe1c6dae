"""What a client waits while others send the longest manifests there are, and the memory that these take."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..figures import Aim, Figure
from ..images import MANIFEST, image_set, push_all
from ..lab import Lab
from ..load import run
from ..memory import PeakMemory, idle_bytes
from ..registries import running
from ..scale import HOSTILE, MIB

_LONGEST = 4 * MIB
"""As long as a manifest may be, by everybody's default."""

_HEAD = b'{"schemaVersion":2,"config":%s,"layers":['
_DESCRIPTOR = b'{"mediaType":"a/b","digest":"sha256:%064x","size":5}'


def measure(lab: Lab) -> list[Figure]:
    """GET of a small manifest, again and again on one connection, beside clients that push without a pause."""
    images = image_set(1)
    figures = []
    for what, document in _documents():
        name = f"GET beside {HOSTILE} clients that push {what}"
        median = Figure(f"{name}, median", "ms", higher_is_better=False)
        slowest = Figure(f"{name}, longest", "ms", higher_is_better=False, aim=Aim(value=100))
        memory = Figure(f"memory above idle, {HOSTILE} push {what}", "MiB", higher_is_better=False, aim=Aim(value=128))
        memory.note = "PSS of all its processes, sampled every 20 ms, less the same after start"
        for _ in range(lab.scale.memory_rounds):
            for registry in lab.registries:
                with lab.home() as home, running(registry, home) as daemon:
                    push_all(daemon.port, images)
                    idle = idle_bytes(daemon)
                    with PeakMemory(daemon) as watched, _pushing(daemon.port, document):
                        seen = run(daemon.port, "GET", [images[0].path], MANIFEST, 1, lab.scale.load_seconds)
                median.add(registry.name, seen.latency_median)
                slowest.add(registry.name, seen.latency_longest)
                memory.add(registry.name, max(0, watched.peak - idle) / MIB)
                lab.say(f"{name}: {registry.name}, {seen.latency_median:.1f} to {seen.latency_longest:.1f} ms")
        figures += [median, slowest, memory]
    return figures


def _documents() -> Iterator[tuple[str, bytes]]:
    """Each of nearly 4 MiB."""
    yield "brackets", b'{"schemaVersion":2,"layers":[' + b"{}," * (_LONGEST // 3 - 20) + b"{}]}"
    annotations = json.dumps({f"{number:08}": "value" for number in range(_LONGEST // 24)}).encode()
    yield "annotations", _HEAD % (_DESCRIPTOR % 0) + b'],"annotations":' + annotations + b"}"
    layers = b",".join(_DESCRIPTOR % number for number in range(_LONGEST // 130))
    yield "layers", _HEAD % (_DESCRIPTOR % 0) + layers + b"]}"


@contextmanager
def _pushing(port: int, document: bytes) -> Iterator[None]:
    """Many clients, in threads, for as long as the block runs; what they are answered does not matter."""
    head = "PUT /v2/bench/hostile/manifests/latest HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    request = f"{head}Content-Type: {MANIFEST}\r\nContent-Length: {len(document)}\r\n\r\n".encode() + document
    over = threading.Event()
    connections: dict[int, socket.socket] = {}

    def push(number: int) -> None:
        while not over.is_set():
            # Some refuse a body without reading it to its end; and in the end the connection is cut.
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
                connections[number] = connection
                connection.sendall(request)
                while connection.recv(65536):
                    pass

    threads = [threading.Thread(target=push, args=[number], name="hostile") for number in range(HOSTILE)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            while thread.is_alive():
                for connection in connections.values():
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
                thread.join(0.1)
