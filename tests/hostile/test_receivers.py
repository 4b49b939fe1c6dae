"""Webhooks go to whoever listens there, who may answer whatever he likes."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.daemon_process import DaemonProcess
from tests.full import some
from tests.registry.test_damage_told import ALL
from tests.registry.test_kill import Client

Answer = Callable[[], Iterator[bytes]]
GROWTH_MAX = 16 * 1024 * 1024


def endless_head() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X-A: " + b"a" * 60_000 + b"\r\n"


def endless_line() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 "
    while True:
        yield b"a" * 100_000


def endless_body() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"10000\r\n" + b"a" * 65_536 + b"\r\n"


def endless_interim() -> Iterator[bytes]:
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n" * 1000


def trickle() -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"A: b\r\n"
        time.sleep(0.1)


def elsewhere() -> Iterator[bytes]:
    yield b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"


def no_status() -> Iterator[bytes]:
    yield b"HTTP/1.1 \x1b[31m500 x\r\n\r\n"


ANSWERS = [endless_head, trickle, endless_body, endless_line, endless_interim, elsewhere, no_status]


@pytest.fixture
def receiver() -> Iterator["Receiver"]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Receiver(listening)


class Receiver:
    """Gives whoever asks an answer, until he goes."""

    def __init__(self, listening: socket.socket) -> None:
        self.port: int = listening.getsockname()[1]
        self.answer: Answer = endless_head
        self.asked = threading.Semaphore(0)
        self._listening = listening
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        try:
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()
        except OSError:
            return

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.recv(100_000)
                self.asked.release()
                for piece in self.answer():
                    connection.sendall(piece)
        except OSError:
            return


@pytest.mark.parametrize("answer", some(2, ANSWERS))
def test_whatever_a_receiver_answers(tmp_path: Path, receiver: Receiver, answer: Answer) -> None:
    receiver.answer = answer
    config = {"webhooks": {"endpoints": f"ci http://127.0.0.1:{receiver.port}/x?key=s3cret", "timeout": "1s"}}
    with DaemonProcess(tmp_path, config) as daemon:
        process = psutil.Process(daemon.pid)
        client = Client(daemon)
        before = process.memory_info().rss
        assert [each.push(client) for each in ALL] == [201] * len(ALL)
        for _ in range(3):  # again and again, or for the next event
            assert receiver.asked.acquire(timeout=30)
            assert ALL[0].tag(client, "again")[0] == 201
        assert process.memory_info().rss - before < GROWTH_MAX
        assert process.num_fds() < 40
        client.close()
    assert "s3cret" not in daemon.log
    assert "\x1b" not in daemon.log.replace("\\x1b", "")
    assert daemon.log.count("does not take events") < 6  # at most one for each attempt, of which there are ever fewer
