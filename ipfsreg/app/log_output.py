"""Where the log goes, and how its lines look."""

import json
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from types import FrameType
from typing import IO, Any, cast

from twisted.application.service import MultiService
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatEventAsClassicLogText,
)
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.sections import LogOptions
from ipfsreg.web.http.request_id import current

_QUIET = ("log_legacy", "twisted.scripts")
"""What Twisted has to say of its ports and of twistd is for who asks for it."""

_PLAIN = (str, int, float, bool)
_NOT_FIELDS = frozenset({"message", "time", "system", "format", "isError", "request_id"})


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


def log_observer(twistd: Mapping[str, Any], file: LogFile | None, options: LogOptions) -> ILogObserver | None:
    """What writes the log as the configuration says; None where twistd was told to log in another way."""
    if twistd["syslog"] or twistd["logger"]:
        return None
    out = sys.stdout if file is None else cast(IO[Any], file)
    form = _as_json if options.format == "json" else _as_text
    return FilteringLogObserver(FileLogObserver(out, form), [_levels(options)])


def _levels(options: LogOptions) -> LogLevelFilterPredicate:
    levels = {namespace: level for namespace, _, level in (each.rpartition("=") for each in options.level)}
    predicate = LogLevelFilterPredicate()
    if levels.get("", "info") == "info":
        levels = dict.fromkeys(_QUIET, "warn") | levels
    for namespace, level in levels.items():
        predicate.setLogLevelForNamespace(namespace, LogLevel.lookupByName(level))
    return predicate


class LoggingTo(MultiService):
    """Services whose application logs by an observer, where there is one."""

    def __init__(self, observer: ILogObserver | None) -> None:
        super().__init__()
        self._observer = observer

    def setServiceParent(self, parent: Any) -> None:
        """See `IService`. twistd asks its application for an observer before it makes one itself."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)


def _as_text(event: LogEvent) -> str | None:
    request = current.get(None)
    if request is not None and "log_system" not in event:
        level = event.get("log_level")
        system = f"{event.get('log_namespace', '-')}#{'-' if level is None else level.name} {request}"
        event = {**event, "log_system": system}
    return formatEventAsClassicLogText(event)


def _as_json(event: LogEvent) -> str | None:
    """A line that is an object: what it says as ``message``, and the values in that as fields of their own."""
    level, failure = event.get("log_level"), event.get("log_failure")
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(event["log_time"], UTC).isoformat(timespec="milliseconds"),
        "level": "info" if level is None else level.name,
        "namespace": event.get("log_namespace", "-"),
        "message": formatEvent(event),
    }
    request = event.get("request_id", current.get(None))
    if request is not None:
        line["request"] = request
    if failure is not None:
        line["traceback"] = failure.getTraceback()
    fields = {
        name: value if isinstance(value, _PLAIN) else str(value)
        for name, value in event.items()
        if not name.startswith("log_") and name not in _NOT_FIELDS
    }
    if fields:
        line["fields"] = fields
    return json.dumps(line, ensure_ascii=True) + "\n"
