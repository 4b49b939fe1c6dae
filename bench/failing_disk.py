"""``python -m bench.failing_disk SOURCE MOUNTED RATE``: a directory, mounted as a disk that fails now and then.

A file system in user space (mfusepy and libfuse 2 or 3; only root can mount it). The file RATE says which part of
the operations is answered with an input/output error, such as 0.02. It ends when it is unmounted.
"""

import errno
import os
import random
import sys
from typing import Any

import mfusepy


class FailingDirectory(mfusepy.Operations):
    """All of ``source``, as a disk that fails as often as the file ``rate`` says."""

    use_ns = True

    def __init__(self, source: str, rate: str) -> None:
        self._source = source
        self._rate = rate
        self._random = random.Random()

    def _at(self, path: str) -> str:
        """The place in ``source`` of what an operation is about; or that operation fails."""
        with open(self._rate, encoding="ascii") as file:
            if self._random.random() < float(file.read() or 0):
                raise mfusepy.FuseOSError(errno.EIO)
        return self._source + path

    def access(self, path: str, mode: int) -> int:
        if not os.access(self._at(path), mode):
            raise mfusepy.FuseOSError(errno.EACCES)
        return 0

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._at(path))
        names = ("st_gid", "st_mode", "st_nlink", "st_size", "st_uid", "st_ino")
        times = {name: getattr(found, f"{name}_ns") for name in ("st_atime", "st_ctime", "st_mtime")}
        return {name: getattr(found, name) for name in names} | times

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._at(path))]

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags & ~os.O_APPEND)  # the kernel says where to write

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._at(path)
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._at(path)
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> None:
        os.truncate(self._at(path) if fh is None else fh, length)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self._at(path)
        os.fsync(fh)

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        return 0

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def readlink(self, path: str) -> str:
        return os.readlink(self._at(path))

    def symlink(self, target: str, source: str) -> None:
        os.symlink(source, self._at(target))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._at(old), self._source + new)

    def link(self, target: str, source: str) -> None:
        os.link(self._source + source, self._at(target))

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._at(path), mode)

    def mknod(self, path: str, mode: int, dev: int) -> None:
        os.mknod(self._at(path), mode, dev)

    def rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._at(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int]) -> None:
        os.utime(self._at(path), ns=times)

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._source + path)
        return {name: getattr(found, name) for name in ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_frsize")}


if __name__ == "__main__":
    mfusepy.FUSE(FailingDirectory(sys.argv[1], sys.argv[3]), sys.argv[2], foreground=True, nothreads=False)
