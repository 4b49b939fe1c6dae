"""Deadlines go by a clock that nobody can set, though the reactor's timers go by one that can be set."""

from twisted.internet.task import Clock

from ipfsreg.web.http.limits import LEAST_RATE, LINGER_SECONDS, HttpLimits
from ipfsreg.web.http.patience import Awaited, Deadline, Patience


class Clocks:
    """The wall clock by which timers go, and the true one."""

    def __init__(self) -> None:
        self.wall = Clock()
        self.true = 0.0
        self.expired = 0
        self.deadline = Deadline(self.wall, lambda: self.true, self.expire)

    def expire(self) -> None:
        self.expired += 1

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.true += 0.1
            self.wall.advance(0.1)


def test_it_expires_once() -> None:
    clocks = Clocks()
    clocks.deadline.set(5)
    clocks.pass_time(4.8)
    assert clocks.expired == 0
    clocks.pass_time(20)
    assert clocks.expired == 1


def test_a_wall_clock_that_is_set_forward_changes_nothing() -> None:
    clocks = Clocks()
    clocks.deadline.set(5)
    clocks.pass_time(2)
    for _ in range(50):
        clocks.wall.advance(3600)
    assert clocks.expired == 0
    clocks.pass_time(2.8)
    assert clocks.expired == 0
    clocks.pass_time(0.4)
    assert clocks.expired == 1


def test_it_may_be_set_to_sooner_and_later() -> None:
    clocks = Clocks()
    clocks.deadline.set(60)
    clocks.deadline.set(5)
    clocks.pass_time(5.2)
    assert clocks.expired == 1
    for _ in range(10):
        clocks.deadline.set(5)
        clocks.pass_time(4)
    assert clocks.expired == 1
    assert len(clocks.wall.getDelayedCalls()) == 1
    clocks.deadline.clear()
    clocks.pass_time(20)
    assert (clocks.expired, clocks.wall.getDelayedCalls()) == (1, [])


def test_a_body_has_to_come_at_a_rate_but_for_pauses() -> None:
    wall, expired = Clock(), list[Awaited]()
    patience = Patience(wall, wall.seconds, HttpLimits(idle=10, stall=100), expired.append)

    def send(rate: float, seconds: int) -> None:
        for _ in range(seconds):
            patience.came(round(rate))
            patience.wait_for(Awaited.BODY)
            wall.advance(1)

    patience.wait_for(Awaited.BODY)
    send(2 * LEAST_RATE, 100)
    send(0, 90)
    send(2 * LEAST_RATE, 200)
    assert expired == []
    send(LEAST_RATE / 2, 190)
    assert expired == []
    send(LEAST_RATE / 2, 20)
    assert expired == [Awaited.BODY]


def test_a_refused_client_is_not_waited_for_long() -> None:
    wall, expired = Clock(), list[Awaited]()
    patience = Patience(wall, wall.seconds, HttpLimits(idle=60, stall=300), expired.append)
    patience.wait_for(Awaited.GOODBYE)
    for _ in range(round(LINGER_SECONDS)):
        assert expired == []
        patience.came(10**6)
        wall.advance(1)
    assert expired == [Awaited.GOODBYE]
