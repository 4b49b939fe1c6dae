"""The file that twistd's ``--logfile`` names, as one that can be opened anew while the daemon runs."""

import signal
from collections.abc import Mapping
from types import FrameType
from typing import IO, Any, cast

from twisted.application.service import MultiService
from twisted.logger import ILogObserver, textFileLogObserver
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile

from ipfsreg.bucket.errors import SetupError


def open_log_file(twistd: Mapping[str, Any], reactor: Any) -> LogFile | None:
    """The file that twistd would log to by its options, opened; None where the log goes elsewhere.

    As twistd does, SIGUSR1 begins a new one.

    :raises SetupError: where it cannot be written.
    """
    name = twistd["logfile"] or ("" if twistd["nodaemon"] else "twistd.log")
    if not name or name == "-" or twistd["syslog"] or twistd["logger"]:
        return None
    try:
        file: LogFile = LogFile.fromFullPath(name)
    except OSError as error:
        raise SetupError(f"--logfile: {error.strerror}: {name}") from None

    def rotate(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(file.rotate)

    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, rotate)
    return file


def reopen(file: LogFile) -> str:
    """Open the log file anew, since the old one may have been moved away; answers what was done.

    :raises OSError: where that cannot be: the log goes on where it was.
    """
    with open(file.path, "ab"):  # else the file would be closed, and no other one opened
        pass
    file.reopen()
    return f"the log file {file.path} is open anew"


class LoggingTo(MultiService):
    """Services whose application logs to a file, where there is one."""

    def __init__(self, file: LogFile | None) -> None:
        super().__init__()
        self._file = file

    def setServiceParent(self, parent: Any) -> None:
        """See `IService`. twistd asks its application for an observer before it makes one itself."""
        if self._file is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, textFileLogObserver(cast(IO[Any], self._file)))
        super().setServiceParent(parent)
