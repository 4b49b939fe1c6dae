"""Opening what is below a directory and nothing else: no symbolic link on the way or at the end is followed.

Linux has one system call for that since 5.6. Python's library lacks it, so it is called by its number. Where the
kernel lacks it too, or a sandbox forbids it, the directories on the way are opened one by one.
"""

import ctypes
import errno
import os
import stat
import struct
import sys
from functools import cache, lru_cache
from typing import Any

_OPENAT2 = 437  # the same on every architecture that CPython's builds know
_NO_SYMLINKS = 0x04  # RESOLVE_NO_SYMLINKS of <linux/openat2.h>
_AT_FDCWD = -100
_ON_THE_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_beneath(top: str, path: str, flags: int) -> int:
    """The descriptor of a file or directory. ``top`` has no link in it and ``path`` no ``..``.

    :raises OSError: as `os.open`; where a link is in the way, with ``ELOOP`` or ``ENOTDIR``.
    """
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    return _open_at_once(f"{top}/{path}", flags) if has_openat2() else open_by_steps(top, path, flags)


def open_by_steps(top: str, path: str, flags: int) -> int:
    """As `open_beneath`, with a system call for each directory on the way."""
    *parents, name = path.split("/")
    at = os.open(top, _ON_THE_WAY)
    try:
        for parent in parents:
            below = os.open(parent, _ON_THE_WAY, dir_fd=at)
            os.close(at)
            at = below
        return os.open(name, flags, dir_fd=at)
    finally:
        os.close(at)


def kind_of(mode: int) -> str | None:
    """What something is that is neither a file nor a directory, in words; None for these two."""
    return _KINDS.get(stat.S_IFMT(mode))


def stranger_on(top: str, path: str) -> tuple[str, str] | None:
    """The first thing on a path that is not what it has to be, and what it is; None where there is none.

    The last one may be a file or a directory, those on the way are directories.
    """
    at = top
    names = path.split("/")
    for number, name in enumerate(names, 1):
        at = f"{at}/{name}"
        try:
            mode = os.lstat(at).st_mode
        except OSError:
            return None
        kind = "a file" if stat.S_ISREG(mode) and number < len(names) else kind_of(mode)
        if kind is not None:
            return at, kind
    return None


@cache
def has_openat2() -> bool:
    """Whether the kernel has the system call, and this process may make it."""
    if sys.platform != "linux":
        return False
    try:
        os.close(_open_at_once("/", os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _open_at_once(path: str, flags: int) -> int:
    how = _how(flags)
    while True:
        descriptor: int = _syscall()(_OPENAT2, _AT_FDCWD, os.fsencode(path), how, len(how))
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)


@lru_cache(maxsize=16)
def _how(flags: int) -> bytes:
    return struct.pack("QQQ", flags, 0, _NO_SYMLINKS)  # struct open_how


@cache
def _syscall() -> Any:
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    function.restype = ctypes.c_long
    return function
