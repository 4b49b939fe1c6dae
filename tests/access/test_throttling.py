"""Who guesses waits, and nobody else."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.access.errors import TooManyAttempts
from ipfsreg.access.throttling import FORGOTTEN_SECONDS, FREE, LONGEST_SECONDS, LoginThrottle

from .helpers import Time


class Guessing:
    def __init__(self) -> None:
        self.time = Time()
        self.throttle = LoginThrottle(self.time)

    def fail(self, address: str, account: str, times: int = 1) -> int:
        """Try and fail; answers how many attempts were looked at."""
        looked_at = 0
        for _ in range(times):
            try:
                self.throttle.begin(address, account)
                looked_at += 1
            except TooManyAttempts:
                pass
        return looked_at

    def wait_of(self, address: str, account: str) -> float:
        try:
            self.throttle.begin(address, account)
        except TooManyAttempts as error:
            return error.retry_after
        self.throttle.withdrawn(address, account)
        return 0.0

    def log_in(self, address: str, account: str) -> None:
        self.throttle.begin(address, account)
        self.throttle.succeeded(address, account)


@pytest.fixture
def guessing() -> Guessing:
    return Guessing()


def test_who_fails_waits_longer_and_longer(guessing: Guessing) -> None:
    assert guessing.fail("192.0.2.1", "alice", 100) == FREE
    waits = []
    for _ in range(9):
        waits.append(guessing.wait_of("192.0.2.1", "alice"))
        guessing.time.advance(waits[-1])
        assert guessing.fail("192.0.2.1", "alice", 100) == 1
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    for _ in range(20):
        guessing.time.advance(LONGEST_SECONDS)
        guessing.fail("192.0.2.1", "alice")
    assert guessing.wait_of("192.0.2.1", "alice") == LONGEST_SECONDS


def test_failures_are_forgotten(guessing: Guessing) -> None:
    guessing.fail("192.0.2.1", "alice", 20)
    guessing.time.advance(FORGOTTEN_SECONDS + 1)
    assert guessing.fail("192.0.2.1", "alice", 20) == FREE


def test_other_accounts_are_no_way_round_it_and_neither_is_an_own_login(guessing: Guessing) -> None:
    looked_at = 0
    for number in range(50):
        looked_at += guessing.fail("192.0.2.1", f"user{number}")
        if guessing.wait_of("192.0.2.1", "mallory") == 0:
            guessing.log_in("192.0.2.1", "mallory")
    assert looked_at == FREE


def test_one_client_locks_nobody_else_out(guessing: Guessing) -> None:
    for _ in range(500):
        guessing.fail("192.0.2.1", "alice", 3)
        guessing.time.advance(60)
    assert guessing.wait_of("198.51.100.7", "alice") == 0


def test_many_clients_close_an_account_to_addresses_that_it_has_never_used(guessing: Guessing) -> None:
    guessing.log_in("203.0.113.1", "alice")
    guessed = sum(guessing.fail(f"192.0.2.{n}", "alice", 10) for n in range(200))
    assert guessed < 100
    assert guessing.wait_of("192.0.2.250", "alice") > 0
    assert guessing.wait_of("203.0.113.1", "alice") == 0  # her own
    assert guessing.wait_of("192.0.2.250", "bob") == 0


def test_behind_one_address_a_user_that_is_known_there_has_only_failures_of_the_own(guessing: Guessing) -> None:
    guessing.log_in("192.0.2.1", "alice")
    guessing.fail("192.0.2.1", "broken-job", 100)
    assert guessing.wait_of("192.0.2.1", "alice") == 0
    assert guessing.wait_of("192.0.2.1", "new") > 0


def test_an_attempt_that_was_right_or_not_looked_at_does_not_count(guessing: Guessing) -> None:
    for _ in range(100):
        guessing.log_in("192.0.2.1", "alice")
        guessing.throttle.begin("192.0.2.1", "bob")
        guessing.throttle.withdrawn("192.0.2.1", "bob")
    assert guessing.wait_of("192.0.2.1", "carol") == 0


def test_guesses_at_the_same_time_do_not_slip_through(guessing: Guessing) -> None:
    assert guessing.fail("192.0.2.1", "alice", 1000) == FREE


def test_memory_is_bounded(guessing: Guessing) -> None:
    def everything() -> Iterable[None]:
        for n in range(12_000):
            guessing.fail(f"10.{n >> 8}.{n & 255}.1", "alice" + "x" * 500)
            yield
        for n in range(3000):
            guessing.fail("192.0.2.1", f"user{n}")
            yield

    for _ in everything():
        guessing.time.advance(0.001)
    assert guessing.wait_of("192.0.2.1", "any") > 0


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), st.sampled_from("fswt")), max_size=60)
)
def test_whatever_happens_a_wait_is_bounded(steps: list[tuple[str, str, str]]) -> None:
    guessing = Guessing()
    waits = []
    for address, account, step in steps:
        if step == "t":
            guessing.time.advance(7)
            continue
        try:
            guessing.throttle.begin(address, account)
        except TooManyAttempts as error:
            waits.append(error.retry_after)
            continue
        if step == "s":
            guessing.throttle.succeeded(address, account)
        elif step == "w":
            guessing.throttle.withdrawn(address, account)
    assert all(0 < wait <= LONGEST_SECONDS for wait in waits)
    guessing.time.advance(LONGEST_SECONDS)
    assert guessing.wait_of("a", "x") == 0
