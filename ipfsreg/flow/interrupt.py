"""Ctrl-C before there is anything to clean up after."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_ends_at_once() -> Iterator[None]:
    """Within the block Ctrl-C ends the process without a word, as it does a program that handles no signals.

    For the time in which modules are loaded: Python would show a traceback of wherever it happens to be.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield  # a script has it ignored, or somebody else takes care
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
