"""Memory for bodies: for what has come, never for a promise, and not for those that do not get on."""

from contextlib import ExitStack

from twisted.internet.task import Clock

from ipfsreg.web.http.budget import LEAST_COLLECTED_RATE, UNCOUNTED, Budget, MemoryLease

TOTAL = 1_000_000


class Users:
    """Bodies that have memory, and a record of who had to give it back."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.budget = Budget(TOTAL, self.clock, self.clock.seconds)
        self.evicted: list[str] = []
        self._stacks: dict[str, ExitStack] = {}

    def begin(self, name: str) -> MemoryLease:
        self._stacks[name] = ExitStack()
        lease = self._stacks[name].enter_context(self.budget.lease(lambda: self.evict(name)))
        assert lease.grow(UNCOUNTED) is None  # what everybody has
        return lease

    def evict(self, name: str) -> None:
        if name in self._stacks:
            self.evicted.append(name)
            self.end(name)

    def end(self, name: str) -> None:
        self._stacks.pop(name).close()


def test_a_small_body_never_waits() -> None:
    users = Users()
    assert users.begin("large").grow(TOTAL) is None
    for number in range(100):
        users.begin(f"small {number}")


def test_who_announces_much_and_sends_nothing_keeps_nobody_waiting() -> None:
    users = Users()
    for number in range(1000):
        users.begin(f"silent {number}")
    assert users.begin("other").grow(TOTAL) is None


def test_memory_that_is_given_back_goes_to_who_waits() -> None:
    users = Users()
    assert users.begin("first").grow(TOTAL) is None
    second, third = users.begin("second").grow(10), users.begin("third").grow(10)
    assert second is not None
    assert third is not None
    users.end("first")
    assert second.called
    assert third.called
    assert users.begin("fourth").grow(TOTAL - 20) is None


def test_bodies_that_wait_for_each_other_get_on() -> None:
    """The oldest one gets what it needs, though nothing is left: else all would wait for ever."""
    users = Users()
    first, second = users.begin("first"), users.begin("second")
    assert first.grow(TOTAL // 2) is None
    assert second.grow(TOTAL // 2) is None
    waiting = second.grow(TOTAL // 2)
    assert waiting is not None
    assert first.grow(TOTAL // 2) is None
    users.end("first")
    assert waiting.called


def test_who_does_not_get_on_gives_it_back_when_another_one_needs_it() -> None:
    users = Users()
    assert users.begin("stalled").grow(TOTAL) is None
    users.clock.advance(1000)
    assert users.evicted == []  # nobody needs it
    waiting = users.begin("other").grow(100_000)
    assert waiting is not None
    users.clock.advance(0.6)
    assert users.evicted == ["stalled"]
    assert waiting.called
    users.clock.advance(100)
    assert users.evicted == ["stalled"]


def test_who_trickles_gives_it_back_and_who_gets_on_keeps_it() -> None:
    users = Users()
    trickling, coming = users.begin("trickling"), users.begin("coming")
    assert trickling.grow(TOTAL // 2) is None
    assert coming.grow(1) is None
    assert users.begin("other").grow(TOTAL) is not None
    for _ in range(20):
        users.clock.advance(0.5)
        if "trickling" not in users.evicted:
            trickling.grow(40)
        coming.grow(LEAST_COLLECTED_RATE)
    assert users.evicted == ["trickling"]


def test_the_time_that_a_body_waits_for_memory_does_not_count_against_it() -> None:
    users = Users()
    coming = users.begin("coming")
    assert coming.grow(TOTAL) is None
    waiting = users.begin("waiting")
    granted = waiting.grow(1000)
    assert granted is not None
    for _ in range(100):
        users.clock.advance(1.0)
        coming.grow(2 * LEAST_COLLECTED_RATE)
    users.end("coming")
    assert granted.called
    assert users.evicted == []
