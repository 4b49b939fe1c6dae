"""CAR files that a command reads and writes, and how far it is with them."""

import os
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from ipfsreg.flow.durable import replacing

from .command import fail
from .errors import Exit

STANDARD = "-"
READ_AT_ONCE = 256 * 1024


@contextmanager
def output_file(name: str) -> Iterator[IO[bytes]]:
    """A file to write to, which has its name only once it is whole; ``-`` is standard output."""
    if name == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    if path.exists() and not path.is_file():  # a pipe, or a device
        with _opened(path, "wb") as file:
            yield file
        return
    umask = os.umask(0)
    os.umask(umask)
    try:
        with ExitStack() as stack:
            try:
                file = stack.enter_context(replacing(path, 0o666 & ~umask))
            except OSError as error:
                fail(f"{path.parent}: {error.strerror}")
            yield file
    except OSError as error:
        fail(f"{name}: {error.strerror}", Exit.PROBLEM)


@contextmanager
def input_file(name: str) -> Iterator[IO[bytes]]:
    """A file to read from; ``-`` is standard input."""
    if name == STANDARD:
        yield sys.stdin.buffer
        return
    with _opened(Path(name), "rb") as file:
        yield file


async def pieces_of(file: IO[bytes], moved: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    """What is in a file; ``moved`` is told the length of each piece that was taken."""
    from twisted.internet.threads import deferToThread

    while piece := await deferToThread(file.read, READ_AT_ONCE):
        yield piece
        moved(len(piece))


def _opened(path: Path, mode: str) -> IO[bytes]:
    try:
        return path.open(mode)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
