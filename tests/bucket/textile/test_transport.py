"""By which transport files are pushed, and what happens where a proxy breaks one of them."""

import os
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from ipfsreg.bucket.textile.server.transport import AGAIN_SECONDS, PROOF, STRIKES, TransportChoice
from ipfsreg.grpcweb.channel import Transport
from tests.bucket.contract import together
from tests.bucket.running import running

from .backend import Backend
from .double import Fault, TextileDouble

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

BUCKET = "ipfsreg"
CONTENT = os.urandom(900_000)


def transports(double: TextileDouble) -> list[str]:
    return [record.transport for record in double.calls if record.method.startswith("PushPath")]


@pytest_twisted.ensureDeferred
async def test_a_direct_connection_is_used_by_post(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("d/f", CONTENT)
        await together(*(backend.bucket.put(f"d/{number}", CONTENT) for number in range(5)))
    assert set(transports(textile_hub)) == {"post"}
    for record in textile_hub.calls.of("PushPath"):
        assert record.metadata["connection"] == "close"


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_keeps_connections(textile_hub: TextileDouble, tmp_path: Path) -> None:
    """Nothing fails, and after some pushes POST is not tried any more."""
    textile_hub.faults.proxy_keeps_connections = True
    # As a network has it: the body is under way when the first event comes.
    textile_hub.faults.latency = 0.005
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        for number in range(STRIKES + 2):
            await backend.bucket.put(f"d/{number}", CONTENT)
            assert textile_hub.read(BUCKET, f"d/{number}") == CONTENT
        tried = transports(textile_hub)
        assert tried == ["post", "websocket"] * STRIKES + ["websocket"] * 2
        await together(*(backend.bucket.put(f"e/{number}", CONTENT) for number in range(3)))
        assert "post" not in transports(textile_hub)[len(tried) :]


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_away_says_nothing_about_the_way(textile_hub: TextileDouble, tmp_path: Path) -> None:
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("d/f", b"x")
        for _ in range(STRIKES + 1):
            textile_hub.faults.add(Fault("PushPath", drop_after_received=1, reset=True))
            await backend.bucket.put("d/f", bytes(PROOF))
            await backend.bucket.put("d/f", bytes(PROOF))
        assert transports(textile_hub)[-1] == "post"


@pytest_twisted.ensureDeferred
async def test_lost_connections_are_no_proxy(textile_hub: TextileDouble, tmp_path: Path) -> None:
    """Small pushes only, so that none of them proves anything."""
    async with running(Backend(textile_hub, tmp_path / "daemon", textile_hub.accounts.add_key())) as backend:
        await backend.bucket.put("d/f", b"x")
        for _ in range(STRIKES + 1):
            textile_hub.faults.add(Fault("PushPath", drop_after_received=1, reset=True))
            await backend.bucket.put("d/f", b"y")
        assert set(transports(textile_hub)) == {"post"}


@pytest.mark.parametrize("host", ["https://hub.example.org", "HTTPS://hub.example.org/"])
def test_behind_tls_there_is_a_proxy(host: str) -> None:
    assert TransportChoice(host, Clock()).transport is Transport.WEBSOCKET
    assert TransportChoice("http://127.0.0.1:3007", Clock()).transport is Transport.POST


def strike(choice: TransportChoice) -> None:
    assert choice.transport is Transport.POST
    choice.failed(Transport.POST, answering=True)
    assert choice.transport is Transport.WEBSOCKET
    choice.worked(Transport.WEBSOCKET, 10)


def test_strikes() -> None:
    clock = Clock()
    choice = TransportChoice("http://127.0.0.1:3007", clock)
    for _ in range(STRIKES - 1):
        strike(choice)
        assert choice.transport is Transport.POST
    choice.worked(Transport.POST, PROOF)  # large, and it worked: it was not the way
    for _ in range(STRIKES):
        strike(choice)
    assert choice.transport is Transport.WEBSOCKET
    choice.failed(Transport.WEBSOCKET, answering=True)
    clock.advance(AGAIN_SECONDS - 1)
    assert choice.transport is Transport.WEBSOCKET
    # Later it is tried again: once, where that breaks too.
    clock.advance(1)
    strike(choice)
    assert choice.transport is Transport.WEBSOCKET
    clock.advance(AGAIN_SECONDS)
    choice.worked(choice.transport, PROOF)
    for _ in range(STRIKES - 1):
        strike(choice)
    assert choice.transport is Transport.POST


def test_a_failure_of_both_is_no_strike() -> None:
    choice = TransportChoice("http://127.0.0.1:3007", Clock())
    for _ in range(STRIKES + 1):
        choice.failed(Transport.POST, answering=True)
        choice.failed(Transport.WEBSOCKET, answering=True)
        assert choice.transport is Transport.POST


def test_what_broke_before_the_answer_is_no_strike() -> None:
    choice = TransportChoice("http://127.0.0.1:3007", Clock())
    for _ in range(STRIKES + 1):
        choice.failed(Transport.POST, answering=False)
        assert choice.transport is Transport.POST
        choice.worked(Transport.POST, 10)
