"""The end of listening on a port, in order whatever happened to its socket's file."""

from contextlib import suppress

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Port


async def stop_listening(port: IListeningPort) -> None:
    """Take no more connections.

    The file of a Unix socket may have been removed. Twisted fails then before it closes the socket and tells the
    factory, which is done here.
    """
    with suppress(FileNotFoundError):
        await maybeDeferred(port.stopListening)
        return
    assert isinstance(port, Port)
    Port.connectionLost(port, None)
