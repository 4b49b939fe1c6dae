"""The table of backends: a new one is one line here, and a package beside this file."""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from ipfsreg.config.backend_options import BackendOptions
from ipfsreg.flow.workers import Workers

from .opened import Opened


@dataclass(frozen=True, slots=True)
class Backend:
    """A kind of storage: where the options of its section are, and what makes its bucket from them.

    Each is loaded when it is used: most daemons and commands use one backend, and all of them together would take
    longer to load than all the rest.
    """

    options_class: str
    opener: str

    def options(self) -> type[BackendOptions]:
        """The class of its section."""
        found: type[BackendOptions] = resolve_name(f"{__package__}.{self.options_class}")
        return found

    def make(self, options: BackendOptions, workers: Workers, reactor: Any) -> Opened:
        """Make its bucket. Nothing of it fails or blocks: that is for the bucket's `start`."""
        opened: Opened = resolve_name(f"{__package__}.{self.opener}")(options, workers, reactor)
        return opened


BACKENDS = {
    "local": Backend("local.backend:LocalOptions", "local.backend:open_local"),
    "kubo": Backend("kubo.options:KuboOptions", "kubo.backend:open_kubo"),
    "textile": Backend("textile.options:TextileOptions", "textile.backend:open_textile"),
    "space": Backend("space.options:SpaceOptions", "space.backend:open_space"),
}
