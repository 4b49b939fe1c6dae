"""Answers in memory that clients have not taken: how much of it they may have together."""

from collections import Counter

from ipfsreg.flow.client_network import client_network

from .wire import IWire

UNREAD_MAX = 64 * 1024**2
"""Bytes of answers that wait for their clients, of all connections together."""

UNCOUNTED = 512 * 1024
"""So many bytes of each connection are not counted: a piece of a download, which waits for a slow client as it should,
and nearly every manifest."""


class Unread:
    """Counts what waits, by connection. Where all of it is more than ``most``, the client with the most loses the
    connection that it has kept waiting for longest. So who asks a thousand times for something long and reads none of
    it takes nothing from others.
    """

    def __init__(self, most: int = UNREAD_MAX) -> None:
        self._most = most
        self._waiting: dict[str, dict[IWire, int]] = {}
        self._sums: Counter[str] = Counter()

    def add(self, wire: IWire, length: int) -> None:
        """So many bytes more wait on a connection."""
        client = _client_of(wire)
        own = self._waiting.setdefault(client, {})
        own[wire] = own.get(wire, 0) + length
        self._sums[client] += length
        while self._sums.total() > self._most:
            greedy, _ = self._sums.most_common(1)[0]
            dropped = next(iter(self._waiting[greedy]))
            self.taken(dropped)
            dropped.abortConnection()

    def taken(self, wire: IWire) -> None:
        """The client of a connection has taken everything, or is gone."""
        client = _client_of(wire)
        own = self._waiting.get(client, {})
        self._sums[client] -= own.pop(wire, 0)
        if not own:
            self._waiting.pop(client, None)
            del self._sums[client]


def _client_of(wire: IWire) -> str:
    return client_network(getattr(wire.getPeer(), "host", ""))
