"""The registry as a command reaches it: through the daemon where it runs, else put together for the one command."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from ipfsreg.app.state_directory import Locked, NotThere, StateDirectory
from ipfsreg.config.sections import Config

if TYPE_CHECKING:
    from .alone import Alone
    from .daemon_client import DaemonClient

RegistryAccess: TypeAlias = "Alone | DaemonClient"
"""What a command can have the registry do. All of it fails with an error whose text is one line for the user."""


@asynccontextmanager
async def reach(
    config: Config, reactor: Any, *, may_make_bucket: bool = False, scratch: bool = False
) -> AsyncIterator[RegistryAccess]:
    """The registry of a configuration; what was opened for it is closed at the end.

    That there is no bucket yet is a failure, unless one may be made: a disk that is merely not mounted must not be
    taken for an empty bucket. Nor is anything else made in a directory that no daemon has used, or for another user.
    ``scratch`` is for what concerns a server only: there a directory that goes away will do.
    """
    state = StateDirectory.of(config.backend)
    with ExitStack() as until_end:
        try:
            state.acquire(make=may_make_bucket)
        except Locked:
            from .daemon_client import DaemonClient  # the client of HTTP is for here, the registry for below

            yield DaemonClient(reactor, state.control_socket)
            return
        except NotThere:
            if not scratch:
                raise
            directory = Path(until_end.enter_context(TemporaryDirectory(prefix="ipfsreg-")))
            config = config.with_directory(directory)
            state = StateDirectory.of(config.backend)
            state.acquire()
        from .alone import open_alone

        async with open_alone(config, state, reactor, may_make_bucket=may_make_bucket) as alone:
            yield alone
