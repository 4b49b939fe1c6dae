"""The table of backends: a new one is one line here and a package beside this file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ipfsreg.cli.command_line import CommandLine
from ipfsreg.cli.space import make_commands as make_space_commands
from ipfsreg.cli.textile import make_commands
from ipfsreg.flow.workers import Workers

from .kubo.backend import open_kubo
from .kubo.options import KuboOptions
from .local.backend import open_local
from .opened import Opened
from .options import BackendOptions, PathOptions
from .space.backend import open_space
from .space.options import SpaceOptions
from .textile.backend import open_textile
from .textile.options import TextileOptions


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of storage: the options of its section, and how to make its bucket from them.

    ``make`` gets the options, the worker threads and the reactor, and does nothing that can fail or block: that
    is for the bucket's `start`. ``commands`` makes what the `ipfsreg` command has for this backend alone.
    """

    options: type[BackendOptions]
    make: Callable[[Any, Workers, Any], Opened]
    commands: Callable[[CommandLine], Sequence[Any]] | None = None


BACKENDS = {
    "local": Backend(PathOptions, open_local),
    "kubo": Backend(KuboOptions, open_kubo),
    "textile": Backend(TextileOptions, open_textile, make_commands),
    "space": Backend(SpaceOptions, open_space, make_space_commands),
}
