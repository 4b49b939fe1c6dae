"""What the double has seen: one record for each call, for tests to assert on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class CallRecord:
    """One call. Times are seconds of the reactor's clock."""

    method: str
    """The short name, as ``PushPath``."""
    service: str
    transport: str
    """``post`` or ``websocket``."""
    metadata: dict[str, str] = field(repr=False)
    """By lower-case name. Holds secrets, so a record's repr leaves it out."""
    started: float
    finished: float | None = None
    request: Any = field(default=None, repr=False)
    """The first message of the client, decoded."""
    messages_received: int = 0
    messages_sent: int = 0
    status: int | None = None
    """None while the call runs, and for good where it ended without a status."""
    text: str = ""
    cancelled: bool = False
    """Whether the client went away (or the double dropped it) before the end."""
    lock_wanted: float | None = None
    lock_taken: float | None = None
    lock_released: float | None = None
    lock_bucket: str = ""

    @property
    def lock_wait(self) -> float:
        """Seconds the call waited for the bucket's lock."""
        if self.lock_wanted is None or self.lock_taken is None:
            return 0.0
        return self.lock_taken - self.lock_wanted

    @property
    def lock_held(self) -> float:
        """Seconds the call held the bucket's lock, 0 while it still holds it."""
        if self.lock_taken is None or self.lock_released is None:
            return 0.0
        return self.lock_released - self.lock_taken


class Recorder:
    """The records of all calls, in the order in which they began."""

    def __init__(self) -> None:
        self.calls: list[CallRecord] = []
        self.keep = True
        """Whether to keep records at all: a test of some 100,000 calls may not want them."""
        self.connections = 0
        """How many TCP connections were made so far."""
        self.open_connections = 0

    def add(self, record: CallRecord) -> None:
        """Keep a record, if records are kept."""
        if self.keep:
            self.calls.append(record)

    def __iter__(self) -> Iterator[CallRecord]:
        return iter(self.calls)

    def of(self, method: str) -> list[CallRecord]:
        """The calls of a method, by its short name."""
        return [record for record in self.calls if record.method == method]

    def methods(self) -> list[str]:
        """The short names of all calls."""
        return [record.method for record in self.calls]

    def running(self) -> list[CallRecord]:
        """The calls that have not ended."""
        return [record for record in self.calls if record.finished is None]

    def clear(self) -> None:
        """Forget the calls so far."""
        self.calls.clear()
