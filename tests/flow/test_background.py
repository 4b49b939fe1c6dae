"""Work in the background: one piece at a time, until it is stopped."""

from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent

from ipfsreg.flow.background import Background


class Work:
    """Begins when it is told to, and goes on when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Deferred[None]] = []
        self.background = Background("do the work", self.run)

    async def run(self) -> None:
        self.begun.append(Deferred())
        await self.begun[-1]


def test_one_at_a_time() -> None:
    work = Work()
    work.background.start()
    work.background.start()
    assert len(work.begun) == 1
    work.begun[0].callback(None)
    work.background.start()
    assert len(work.begun) == 2


def test_it_is_cancelled_by_a_stop_and_does_not_begin_again(clean_log: list[LogEvent]) -> None:
    work = Work()
    work.background.start()
    work.background.stop()
    assert work.begun[0].called
    work.background.start()
    assert len(work.begun) == 1


def test_a_failure_is_logged_and_it_can_begin_again(log: list[LogEvent]) -> None:
    work = Work()
    work.background.start()
    work.begun[0].errback(ValueError("no"))
    assert [formatEvent(event) for event in log if "log_failure" in event] == ["Could not do the work"]
    work.background.start()
    assert len(work.begun) == 2
