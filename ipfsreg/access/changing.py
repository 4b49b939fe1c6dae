"""Files of names and secrets, as commands change them: one command at a time, and durably. Blocks."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ipfsreg.flow.durable import DIRECTORY, closing, replacing

from .errors import AccessFileError
from .watched import FILE_MAX


@contextmanager
def changing(path: Path, mode: int) -> Iterator[Callable[[bytes], None]]:
    """Keep other commands from the file while the block runs; the block calls what it is given with the new content.

    The content is on the disk when that returns. The file keeps its mode, and its owner where root changes it; a new
    one has ``mode``, and belongs to whom its directory belongs to. A link is followed, and stays.

    :raises AccessFileError: where the content is too long, or the disk does not let us.
    """
    target = Path(os.path.realpath(path))
    try:
        # The directory is locked, since the file becomes another one; a lock file would stay behind.
        with closing(os.open(target.parent, DIRECTORY)) as directory:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield lambda content: _replace(target, content, mode)
    except OSError as error:
        raise AccessFileError(f"{path}: {error.strerror}") from None


def _replace(path: Path, content: bytes, mode: int) -> None:
    if len(content) > FILE_MAX:
        raise AccessFileError(f"{path} would be longer than {FILE_MAX} bytes; take a name out first")
    try:
        model = path.stat()
        mode = model.st_mode & 0o777
    except FileNotFoundError:
        model = path.parent.stat()
    with replacing(path, mode) as file:
        if os.geteuid() == 0:
            os.fchown(file.fileno(), model.st_uid, model.st_gid)
        file.write(content)
