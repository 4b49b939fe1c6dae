"""The access log as a file of its own."""

from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.errors import SetupError
from ipfsreg.flow.line_file import LineFile
from ipfsreg.flow.workers import Workers


class AccessFile:
    """A `Watcher` whose `add` takes the lines."""

    def __init__(self, path: Path, workers: Workers, clock: IReactorTime) -> None:
        self._file = LineFile("The access log", path, workers, _dropped, clock)
        self._workers = workers
        self.add = self._file.add

    async def start(self) -> None:
        try:
            await self._workers.run(self._file.check)
        except OSError as error:
            raise SetupError(f"[log] access: {self._file.path}: {error.strerror}") from None

    async def stop(self) -> None:
        await self._file.stop()


def _dropped(lines: int) -> str:
    return f"# {lines} requests are missing here: the disk was too slow"
