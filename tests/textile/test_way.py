"""By which transport files are pushed, and what happens where a proxy breaks one of them."""

import os
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.textile.way import PROOF, STRIKES, Way
from ipfsreg.grpcweb.channel import Transport

from ..bucket.contract import together
from .backend import Backend, running
from .double import Fault, TextileDouble

pytest_plugins = ["tests.textile.double.fixtures"]

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


@pytest.mark.parametrize("host", ["https://hub.example.org", "HTTPS://hub.example.org/"])
def test_behind_tls_there_is_a_proxy(host: str) -> None:
    assert Way(host).transport is Transport.WEBSOCKET
    assert Way("http://127.0.0.1:3007").transport is Transport.POST


def test_strikes() -> None:
    way = Way("http://127.0.0.1:3007")
    for _ in range(STRIKES - 1):
        way.failed(way.transport)
        assert way.transport is Transport.WEBSOCKET
        way.worked(way.transport, 10)
        assert way.transport is Transport.POST
    way.worked(Transport.POST, PROOF)  # large, and it worked: it was not the way
    for _ in range(STRIKES):
        assert way.transport is Transport.POST
        way.failed(Transport.POST)
        way.worked(Transport.WEBSOCKET, 10)
    assert way.transport is Transport.WEBSOCKET
    way.failed(Transport.WEBSOCKET)
    assert way.transport is Transport.WEBSOCKET


def test_a_failure_of_both_is_no_strike() -> None:
    way = Way("http://127.0.0.1:3007")
    for _ in range(STRIKES + 1):
        way.failed(Transport.POST)
        way.failed(Transport.WEBSOCKET)
        assert way.transport is Transport.POST
