"""What would keep a daemon from starting, as far as it can be seen without starting one."""

from ipfsreg.bucket.errors import SetupError
from ipfsreg.bucket.opened import Opened
from ipfsreg.config.endpoints import listening_problem
from ipfsreg.config.sections import Config

from .access_config import access_problem
from .certificates import Certificates
from .peer_id import read_peer_id
from .state_directory import StateDirectory
from .webhooks.secret import read_secret


def find_problem(config: Config, backend: Opened) -> str | None:
    """One line that says what to change, or None. For `ipfsreg check` and for the daemon alike; it may block.

    Nothing is left behind, and a daemon that runs is not disturbed.
    """
    state, section = StateDirectory.of(config.backend), config.registry.backend
    problem = state.problem()
    if problem is None:
        problem = backend.problem() or _peer_id_problem(state)
    if problem is not None:
        return f"{config.name}: [{section}] {config.backend.directory_option}: {problem}"
    if config.tls.certificate:
        try:
            Certificates(config.tls).load()
        except SetupError as error:
            return f"{config.name}: {error}"
    for hook in config.webhooks.endpoints:
        try:
            if hook.secret is not None:
                read_secret(hook.name, hook.secret)
        except SetupError as error:
            return f"{config.name}: {error}"
    problem = None if config.tracing.endpoint is None else tracing_problem()
    if problem is not None:
        return f"{config.name}: {problem}"
    if config.encryption.enabled:
        from .encryption import encryption_problem  # as in `assemble`

        problem = encryption_problem(config.encryption)
        if problem is not None:
            return f"{config.name}: {problem}"
    problem = access_problem(config)
    if problem is not None:
        return f"{config.name}: {problem}"
    for section, endpoints in (("registry", config.registry.listen), ("metrics", config.metrics.listen)):
        for endpoint in endpoints:
            problem = listening_problem(endpoint)
            if problem is not None:
                return f"{config.name}: [{section}] listen: {endpoint}: {problem}"
    return None


def tracing_problem() -> str | None:
    """Why requests cannot be traced, or None."""
    try:
        from .tracing import tracing  # noqa: F401 - else it is not loaded
    except ImportError as error:
        return f"[tracing] endpoint: install what it needs: pip install 'ipfsreg[tracing]' ({error})"
    return None


def _peer_id_problem(state: StateDirectory) -> str | None:
    try:
        read_peer_id(state.path / "peer-id")
    except FileNotFoundError:
        return None
    except SetupError as error:
        return str(error)
    return None
