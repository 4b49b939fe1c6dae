"""A whole daemon on a double, in the test's process, and what its log must not say."""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.web.served import Served

from .double import TextileDouble
from .double.accounts import ApiKey


def configuration(
    double: TextileDouble, key: ApiKey | None, directory: Path, more: Mapping[str, object]
) -> dict[str, dict[str, object]]:
    """The sections of a daemon on a double."""
    section: dict[str, object] = {"host": double.url, "path": directory, **more}
    if key is not None:
        section |= {"key": key.key, "secret": key.secret}
    return {"registry": {"backend": "textile"}, "textile": section}


class TextileServed(Served):
    """A daemon on a double; its own directory is ``directory/state``."""

    def __init__(self, directory: Path, double: TextileDouble, key: ApiKey | None, **more: object) -> None:
        directory.mkdir(exist_ok=True)
        self.state = directory / "state"
        super().__init__(directory, configuration(double, key, self.state, more))

    def wipe_cache(self) -> None:
        """Lose what the daemon keeps on its disk. For one that does not run."""
        shutil.rmtree(self.state / "cache", ignore_errors=True)


@asynccontextmanager
async def served(directory: Path, double: TextileDouble, key: ApiKey | None, **more: object) -> AsyncIterator[Served]:
    """A daemon that runs for a block."""
    daemon = TextileServed(directory, double, key, **more)
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop()


@contextmanager
def logged() -> Iterator[list[LogEvent]]:
    """All that is logged in a block."""
    events: list[LogEvent] = []
    observer: Any = events.append
    globalLogPublisher.addObserver(observer)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observer)


def text_of(events: list[LogEvent]) -> str:
    """A log as text, tracebacks included."""
    lines = []
    for event in events:
        lines.append(formatEvent(event))
        if "log_failure" in event:
            lines.append(event["log_failure"].getTraceback())
    return "\n".join(lines)


def secrets_of(double: TextileDouble) -> dict[str, str]:
    """What must be in no log, by what it is."""
    found: dict[str, str] = {}
    for number, key in enumerate(double.accounts.api_keys.values()):
        found |= {f"key {number}": key.key, f"secret {number}": key.secret}
    for number, bucket in enumerate(double.buckets.all()):
        found |= {f"link key {number}": bucket.link_key, f"file key {number}": bucket.file_key}
    for number, record in enumerate(double.calls):
        found[f"signature {number}"] = record.metadata.get("x-textile-api-sig", "")
        found[f"token {number}"] = record.metadata.get("authorization", "").removeprefix("bearer ")
    return {what: value for what, value in found.items() if value}


def check_no_secrets(double: TextileDouble, log: str) -> None:
    """Fail where a log holds a secret; the failure does not quote it."""
    told = [what for what, value in secrets_of(double).items() if value in log]
    assert not told
