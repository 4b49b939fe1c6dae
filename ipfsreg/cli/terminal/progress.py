"""How far a command is with something that may take long."""

import sys
import threading
from typing import TYPE_CHECKING

import click

from ipfsreg.flow.progress import size_text

from .text import printable

if TYPE_CHECKING:
    from .drawing import Bar

SHOWN_AFTER = 1.0
"""What takes less than these seconds has no progress to show."""


class ProgressBar:
    """Shows on standard error how much is done, how fast it goes and how long it will take, while the block runs.

    It shows nothing in the first second, and nothing where standard error is no terminal. All methods may be called
    from any thread, and cost next to nothing.
    """

    def __init__(self, label: str, *, bytes_: bool = False) -> None:
        self._label = label
        self._bytes = bytes_
        self._done = 0
        self._total: int | None = None
        self._bar: Bar | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._waiting: threading.Thread | None = None

    def expect(self, total: int | None) -> None:
        """So much will be done in all; None where nobody knows."""
        with self._lock:
            self._total = total
            self._update()

    def advance(self, amount: int = 1) -> None:
        """So much more is done."""
        with self._lock:
            self._done += amount
            self._update()

    def at(self, what: str, done: int, total: int | None, moved: int = 0) -> None:
        """``what`` goes on now, and so much of it is done, with ``moved`` bytes. Less than before is something new."""
        with self._lock:
            self._label = f"{what}, {size_text(moved)}" if moved else what
            self._done, self._total = done, total
            self._update()

    def describe(self, label: str) -> None:
        """This is what goes on now."""
        with self._lock:
            self._label = label
            self._update()

    def say(self, line: str) -> None:
        """A line on standard error that stays, above what is shown."""
        with self._lock:
            if self._bar is None:
                click.echo(printable(line), err=True)
            else:
                self._bar.say(printable(line))

    def __enter__(self) -> "ProgressBar":
        if sys.stderr.isatty():
            self._waiting = threading.Thread(target=self._show_later, daemon=True)
            self._waiting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._waiting is not None:
            self._waiting.join()
        if self._bar is not None:
            self._bar.end()

    def _show_later(self) -> None:
        if self._ended.wait(SHOWN_AFTER):
            return
        from .drawing import Bar

        with self._lock:
            self._bar = Bar(printable(self._label), in_bytes=self._bytes)
            self._update()

    def _update(self) -> None:
        if self._bar is not None:
            self._bar.update(printable(self._label), self._done, self._total)
