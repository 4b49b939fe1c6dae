"""What the test server can do."""

import hashlib
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.task import deferLater

from .server import ServerCall

reactor: Any = installed_reactor


async def echo(call: ServerCall) -> None:
    """Answers each message with itself, at once."""
    while (message := await call.receive()) is not None:
        await call.send(message)
    call.status(0)


async def count(call: ServerCall) -> None:
    """Reads to the end; answers the number of bytes and their SHA-256."""
    total, digest = 0, hashlib.sha256()
    while (message := await call.receive()) is not None:
        total += len(message)
        digest.update(message)
    await call.send(f"{total} {digest.hexdigest()}".encode())
    call.status(0)


async def progress(call: ServerCall) -> None:
    """Like `count`, with an event for every message."""
    total = 0
    while (message := await call.receive()) is not None:
        total += len(message)
        await call.send(str(total).encode())
    call.status(0)


async def numbers(call: ServerCall) -> None:
    """Answers as many numbers as the request says."""
    message = await call.receive()
    assert message is not None
    for number in range(int(message)):
        await call.send(str(number).encode())
    call.status(0)


async def flood(call: ServerCall) -> None:
    """Answers the messages that the request asks for, ``<number> <size>``, as fast as the connection goes."""
    message = await call.receive()
    assert message is not None
    amount, size = map(int, message.split())
    payload = bytes(size)
    for _ in range(amount):
        await call.send(payload)
    call.status(0)


async def challenge(call: ServerCall) -> None:
    """The shape of Textile's getToken: a key, a challenge for it, a signature, a token."""
    key = await call.receive()
    assert key is not None
    await call.send(b"sign this, " + key)
    signature = await call.receive()
    assert await call.receive() is None
    if signature == b"signed: sign this, " + key:
        await call.send(b"token for " + key)
        call.status(0)
    else:
        call.status(2, "bad signature")


async def refuse(call: ServerCall) -> None:
    """Reads one message and refuses the rest."""
    await call.receive()
    call.status(9, "update is non-fast-forward")


async def deny(call: ServerCall) -> None:
    """Reads to the end, and denies."""
    while await call.receive() is not None:
        pass
    call.status(7, "no")


async def silent(call: ServerCall) -> None:
    """Says nothing, until the connection breaks."""
    await call.broken


async def deaf(call: ServerCall) -> None:
    """Reads nothing, and says nothing."""
    call.hold()
    await call.broken


async def broken_off(call: ServerCall) -> None:
    """Answers one message and drops the connection."""
    await call.receive()
    await call.send(b"one")
    call.peer.transport.loseConnection()
    call.peer.transport.unregisterProducer()


async def slow(call: ServerCall) -> None:
    """Answers after the fraction of a second that the request says."""
    message = await call.receive()
    assert message is not None
    await deferLater(reactor, float(message), lambda: None)
    await call.send(b"at last")
    call.status(0)
