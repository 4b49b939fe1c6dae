"""Switches that make a double slow, unwilling, or die."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Fault:
    """What goes wrong with some calls. Several may hit one call; the first that sets a field wins.

    `method` is a short name (``PullPath``) or None for any. The fault begins with the `nth` call that matches
    (1 is the next one) and hits `times` of them (None: all from there on).
    """

    method: str | None = None
    nth: int = 1
    times: int | None = 1

    delay: float | None = None
    """Seconds that the server thinks before it handles the call."""
    hang: bool | None = None
    """Never answer; the call ends when its connection does."""
    code: int | None = None
    """Refuse with this gRPC status, before anything is done unless `after_messages` is set."""
    text: str = ""
    after_messages: int | None = None
    """Let so many answers through, then refuse with `code`, or without one: end with no status at all."""
    drop_after_received: int | None = None
    """Drop the TCP connection when so many bytes of the call have come from the client."""
    drop_after_sent: int | None = None
    """Drop the TCP connection after so many bytes of the answer."""
    reset: bool | None = None
    """With a `drop_…`: a TCP reset rather than an orderly end."""
    truncate: int | None = None
    """Where a file is given: leave out all after so many bytes, and report success nevertheless."""
    alter: bool | None = None
    """Where a file is given: change a byte of it."""

    seen: int = field(default=0, repr=False)

    def hits(self, method: str) -> bool:
        """Count a call and say whether the fault is for it."""
        if self.method not in (None, method):
            return False
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)


_MERGED = (
    "delay",
    "hang",
    "after_messages",
    "drop_after_received",
    "drop_after_sent",
    "reset",
    "truncate",
    "alter",
)


class CallFaults:
    """The switches that any double has. Plain attributes, to be set at any time; running calls may notice."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.latency = 0.0
        """Seconds of a round trip on the network, and of one more for each new connection."""
        self.clock_offset = 0.0
        """Seconds by which the server's clock is ahead of ours."""
        self.proxy_keeps_connections = False
        """A proxy before the server keeps its connections, whatever a client asks for.

        See docs/protocols/grpc-web.md, "Streams by POST".
        """

    def now(self) -> float:
        """The server's wall clock, in seconds since 1970."""
        return time.time() + self.clock_offset

    def add(self, fault: Fault) -> Fault:
        """Put a fault in; it counts the calls from now on."""
        self._faults.append(fault)
        return fault

    def refuse(self, method: str, code: int, text: str, *, times: int | None = None) -> Fault:
        """Refuse a method with a gRPC status, for good unless `times` is given."""
        return self.add(Fault(method, times=times, code=code, text=text))

    def remove(self, fault: Fault) -> None:
        """Take a fault out again."""
        self._faults.remove(fault)

    def clear(self) -> None:
        """Take all faults out; the plain attributes stay as they are."""
        self._faults.clear()

    def plan(self, method: str) -> Fault:
        """What is to go wrong with a call that begins now, merged into one fault."""
        plan = Fault(method)
        for fault in [fault for fault in self._faults if fault.hits(method)]:
            for name in _MERGED:
                if getattr(plan, name) is None:
                    setattr(plan, name, getattr(fault, name))
            if plan.code is None and fault.code is not None:
                plan.code, plan.text = fault.code, fault.text
        return plan
