"""What every scenario gets: the registries, the scale, a private directory, and the payload."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import BenchError
from .machine import reclaim_memory
from .payload import Payload
from .registries import Registry
from .scale import Scale


class SpaceError(BenchError):
    """The disk has less free space than a scenario needs."""


class Lab:
    """The surroundings of a measurement; ``say`` shows progress to whoever waits."""

    def __init__(self, registries: list[Registry], scale: Scale, directory: Path, say: Callable[[str], None]) -> None:
        self.registries = registries
        self.scale = scale
        self.directory = directory
        self.say = say
        self._payload: Payload | None = None

    @property
    def payload(self) -> Payload:
        """The random bytes of which layers are made, written when first asked for."""
        if self._payload is None:
            size = max(self.scale.layer, self.scale.small_layer, self.scale.memory_layer)
            self.say(f"writing {self.scale.size(size)} of random bytes")
            self._payload = Payload(self.directory / "payload", size)
        return self._payload

    @contextmanager
    def home(self) -> Iterator[Path]:
        """A new directory for a registry's data, removed at the end of the block."""
        home = Path(tempfile.mkdtemp(dir=self.directory))
        try:
            yield home
        finally:
            shutil.rmtree(home, ignore_errors=True)

    def need(self, space: int) -> None:
        """Make sure of so many free bytes, and some more.

        :raises SpaceError: where there are fewer.
        """
        free = shutil.disk_usage(self.directory).free
        if free < space + space // 10:
            wanted, there = self.scale.size(space), self.scale.size(free)
            raise SpaceError(f"this needs {wanted} in {self.directory}, and {there} are free")

    def settle(self, size: int = 0) -> None:
        """Write back what earlier runs left dirty, and have memory for ``size`` bytes at hand."""
        os.sync()
        if size:
            reclaim_memory(self.directory, size)
