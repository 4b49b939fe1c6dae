"""podman and buildah, each with image storage of its own."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from .programs import client_environment, require_program, require_root, run


class Tool:
    """podman or buildah with image storage of its own."""

    def __init__(self, name: str, directory: Path) -> None:
        require_root()
        self._program = require_program(name)
        require_program("runc")
        self._env = client_environment(directory / "home")
        # podman takes at most 50 characters for this one.
        self._run_root = tempfile.mkdtemp(prefix="run-")
        self._root = directory / "root"
        self._storage = (f"--root={self._root}", f"--runroot={self._run_root}", "--storage-driver=vfs")

    def __call__(self, *arguments: str | Path, fails: bool = False) -> str:
        """Run it and return what it printed; see `programs.run`."""
        return run(self._program, *self._storage, *arguments, env=self._env, fails=fails)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for directory in (self._root, self._run_root):
            shutil.rmtree(directory, ignore_errors=True)
