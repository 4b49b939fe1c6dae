"""A terminal for the programs that are tested."""

import os
import pty
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import fork_server


def on_terminal(
    arguments: Sequence[str], *, cwd: Path, typed: bytes = b"", env: Mapping[str, str] | None = None, columns: int = 100
) -> tuple[int, str]:
    """Run a command with a terminal; answers its status, and all that the terminal has got."""
    ours, theirs = pty.openpty()
    known = {"PATH": os.environ["PATH"], "HOME": str(cwd), "TERM": "xterm", "COLUMNS": str(columns), **(env or {})}
    with os.fdopen(theirs, "r+b", buffering=0) as terminal:
        process = fork_server.start(arguments, cwd=cwd, env=known, stdin=terminal, stdout=terminal, stderr=terminal)
    os.write(ours, typed)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # EIO: nobody has the other end any more
            break
    os.close(ours)
    return process.wait(), shown.decode()
