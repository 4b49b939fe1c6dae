"""Lines of a busy daemon: written together, in order, and all of them at the end."""

from pathlib import Path

from twisted.internet.task import Clock

from ipfsreg.flow.line_file import TOGETHER_SECONDS, WAITING_MAX, LineFile
from tests.access.helpers import Threads, as_workers, result


def test_lines_that_come_together_are_written_together(tmp_path: Path) -> None:
    threads, clock = Threads(), Clock()
    file = LineFile("The log", tmp_path / "log", as_workers(threads), lambda lost: f"{lost} lost", clock)
    for number in range(30):
        file.add(str(number))
    assert threads.calls == 0
    threads.later = []
    clock.advance(TOGETHER_SECONDS)
    assert threads.calls == 1
    file.add("30")  # while the disk is at it
    threads.finish()
    assert (tmp_path / "log").read_text().split() == [str(number) for number in range(30)]
    assert threads.calls == 1
    clock.advance(TOGETHER_SECONDS)
    assert (tmp_path / "log").read_text().endswith("29\n30\n")
    for _ in range(WAITING_MAX + 5):
        file.add("more")
    result(file.stop())
    file.add("last")
    result(file.stop())
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines.count("more") == WAITING_MAX
    assert lines[-1] == "last"
    assert "5 lost" in lines
    assert not clock.getDelayedCalls()
