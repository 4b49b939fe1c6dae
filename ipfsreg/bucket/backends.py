"""The table of backends: a new one is one line here and a package beside this file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ipfsreg.config.backend_options import BackendOptions
from ipfsreg.flow.workers import Workers

from .kubo.backend import open_kubo
from .kubo.options import KuboOptions
from .local.backend import LocalOptions, open_local
from .opened import Opened
from .space.backend import open_space
from .space.options import SpaceOptions
from .textile.backend import open_textile
from .textile.options import TextileOptions


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of storage: the options of its section, and how to make its bucket from them.

    ``make`` gets the options, the worker threads and the reactor, and does nothing that can fail or block: that
    is for the bucket's `start`.
    """

    options: type[BackendOptions]
    make: Callable[[Any, Workers, Any], Opened]


BACKENDS = {
    "local": Backend(LocalOptions, open_local),
    "kubo": Backend(KuboOptions, open_kubo),
    "textile": Backend(TextileOptions, open_textile),
    "space": Backend(SpaceOptions, open_space),
}
