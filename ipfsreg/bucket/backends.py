"""The table of backends: a new one is two functions and one line here, and a package beside this file.

What a backend needs is loaded when it is used: most daemons and commands use one, and together they would take longer
to load than all the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipfsreg.config.backend_options import BackendOptions
from ipfsreg.flow.workers import Workers

from .opened import Opened

if TYPE_CHECKING:
    from .kubo.options import KuboOptions
    from .local.backend import LocalOptions
    from .space.options import SpaceOptions
    from .textile.options import TextileOptions


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of storage: the options of its section, and how to make its bucket from them.

    ``options`` loads their class. ``make`` gets the options, the worker threads and the reactor, and does nothing that
    can fail or block: that is for the bucket's `start`.
    """

    options: Callable[[], type[BackendOptions]]
    make: Callable[[Any, Workers, Any], Opened]


def _local_options() -> type["LocalOptions"]:
    from .local.backend import LocalOptions

    return LocalOptions


def _open_local(options: "LocalOptions", workers: Workers, reactor: Any) -> Opened:
    from .local.backend import open_local

    return open_local(options, workers, reactor)


def _kubo_options() -> type["KuboOptions"]:
    from .kubo.options import KuboOptions

    return KuboOptions


def _open_kubo(options: "KuboOptions", workers: Workers, reactor: Any) -> Opened:
    from .kubo.backend import open_kubo

    return open_kubo(options, workers, reactor)


def _textile_options() -> type["TextileOptions"]:
    from .textile.options import TextileOptions

    return TextileOptions


def _open_textile(options: "TextileOptions", workers: Workers, reactor: Any) -> Opened:
    from .textile.backend import open_textile

    return open_textile(options, workers, reactor)


def _space_options() -> type["SpaceOptions"]:
    from .space.options import SpaceOptions

    return SpaceOptions


def _open_space(options: "SpaceOptions", workers: Workers, reactor: Any) -> Opened:
    from .space.backend import open_space

    return open_space(options, workers, reactor)


BACKENDS = {
    "local": Backend(_local_options, _open_local),
    "kubo": Backend(_kubo_options, _open_kubo),
    "textile": Backend(_textile_options, _open_textile),
    "space": Backend(_space_options, _open_space),
}
