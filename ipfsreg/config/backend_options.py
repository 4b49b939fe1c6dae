"""What the sections of all backends have in common."""

from pathlib import Path
from typing import ClassVar

from platformdirs import user_data_path
from pydantic import Field

from .kinds import Directory, Section


def default_directory() -> Path:
    """Where a backend keeps what it has on this disk, unless its section says otherwise."""
    return user_data_path("ipfsreg")


class BackendOptions(Section):
    """The base of a backend's section.

    Every backend has a directory on this disk: ``local`` keeps everything there, the others what is on its way.
    ``directory_option`` is the name of the option that says which.
    """

    directory_option: ClassVar[str] = "path"

    @property
    def state_directory(self) -> Path:
        """The daemon's own directory on this disk."""
        directory: Path = getattr(self, self.directory_option)
        return directory

    @property
    def publishes(self) -> str | None:
        """The option by which everything in the bucket is made public, where one is set."""
        return None

    @property
    def publishes_past_rules(self) -> bool:
        """Whether that is meant, though the rules of ``[access]`` would keep some of it from somebody."""
        return False

    def problem(self) -> str | None:
        """What has to be set or made before a daemon can use the backend, in one line; None where nothing has to.

        Unlike what validation finds, it may be missing while the backend is only being set up.
        """
        return None


class PathOptions(BackendOptions):
    """For backends whose ``path`` is the directory on this disk."""

    path: Directory = Field(default_factory=default_directory)
