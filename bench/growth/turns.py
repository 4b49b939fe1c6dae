"""How long the reactor of a daemon keeps others waiting: the longest time from one look for news to the next.

As a program it runs twistd and measures each turn: ``python turns.py FILE TWISTD'S ARGUMENTS``. `Turns` reads the file.
The time by the clock has the waits for other programs and for Python's lock in it, the processor's time has neither,
so what the daemon is to blame for lies between the two.
"""

import mmap
import os
import select
import struct
import sys
import time
from pathlib import Path
from typing import Any

HURRY = "BENCH_HURRY"
"""In the environment of a daemon whose work in the background takes no rests."""

_LONGEST = struct.Struct("dd")


def file_in(directory: Path) -> Path:
    """The file of a daemon that has all its files in a directory."""
    return directory / "turns"


class Turns:
    """The longest turn since the last `reset`, of a daemon that runs with the file."""

    def __init__(self, file: Path) -> None:
        self._map = _mapped(file)

    def reset(self) -> None:
        """Begin anew."""
        _LONGEST.pack_into(self._map, 0, 0.0, 0.0)

    @property
    def longest(self) -> float:
        """The longest turn in milliseconds by the clock."""
        return float(_LONGEST.unpack_from(self._map)[0]) * 1000

    @property
    def longest_processor(self) -> float:
        """The longest turn in milliseconds of the reactor's own processor time."""
        return float(_LONGEST.unpack_from(self._map)[1]) * 1000


class _MeasuredPoll:
    """Stands for ``select.epoll``: a turn is the time between two of its `poll`."""

    def __init__(self, *sizes: int) -> None:
        self._epoll = select.epoll(*sizes)
        self._map = _mapped(Path(os.environ["BENCH_TURNS"]))
        self._began = time.monotonic(), time.thread_time()

    def poll(self, *arguments: Any) -> Any:
        took = time.monotonic() - self._began[0], time.thread_time() - self._began[1]
        known = _LONGEST.unpack_from(self._map)
        if took[0] > known[0] or took[1] > known[1]:
            _LONGEST.pack_into(self._map, 0, max(took[0], known[0]), max(took[1], known[1]))
        found = self._epoll.poll(*arguments)
        self._began = time.monotonic(), time.thread_time()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)


def _mapped(file: Path) -> mmap.mmap:
    with file.open("a+b") as opened:
        opened.truncate(_LONGEST.size)
        return mmap.mmap(opened.fileno(), _LONGEST.size)


def _main() -> None:
    os.environ["BENCH_TURNS"] = sys.argv.pop(1)
    from twisted.internet import epollreactor

    epollreactor.epoll = _MeasuredPoll
    if os.environ.get(HURRY):  # not before: this imports the reactor
        from ipfsreg.app import assembly

        assembly.SHARE = 1.0
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    _main()
