"""Waiting for something that happens again and again."""

from twisted.internet.defer import Deferred


class Signal:
    """Something that one piece of code waits for at a time. Given while nobody waits, it is not remembered."""

    def __init__(self) -> None:
        self._waiting: Deferred[None] | None = None

    def wait(self) -> "Deferred[None]":
        """Fires when it is given next."""
        self._waiting = Deferred()
        return self._waiting

    def give(self) -> None:
        """Let whoever waits go on."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
