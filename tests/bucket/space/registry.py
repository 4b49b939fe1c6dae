"""A whole daemon on a double, in the test's process."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.bucket.textile.registry import logged, text_of
from tests.web.served import Served

from .backend import options_for
from .double import SpaceDouble

__all__ = ["SpaceServed", "logged", "served", "text_of"]


class SpaceServed(Served):
    """A daemon on a double; its own directory is ``directory/state``."""

    def __init__(self, directory: Path, double: SpaceDouble, **more: object) -> None:
        directory.mkdir(exist_ok=True)
        self.state = directory / "state"
        sections = {"registry": {"backend": "space"}, "space": options_for(double, self.state, **more)}
        super().__init__(directory, sections)

    def wipe_cache(self) -> None:
        """Lose the content that the daemon keeps on its disk. For one that does not run."""
        shutil.rmtree(self.state / "cache", ignore_errors=True)


@asynccontextmanager
async def served(directory: Path, double: SpaceDouble, **more: object) -> AsyncIterator[SpaceServed]:
    """A daemon that runs for a block."""
    daemon = SpaceServed(directory, double, **more)
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop()
