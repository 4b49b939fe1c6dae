"""What would keep a daemon from starting, as far as it can be seen without starting one."""

from collections.abc import Iterator

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
    try:
        problem = next((each for each in _looked_for(config, backend) if each is not None), None)
    except SetupError as error:
        problem = str(error)
    return None if problem is None else f"{config.name}: {problem}"


def _looked_for(config: Config, backend: Opened) -> Iterator[str | None]:
    """One thing after the other, with what is wrong with it. :raises SetupError: likewise."""
    state = StateDirectory.of(config.backend)
    problem = state.problem() or backend.problem() or _peer_id_problem(state)
    yield problem and f"[{config.registry.backend}] {config.backend.directory_option}: {problem}"
    if config.tls.certificate:
        Certificates(config.tls).load()
    for hook in config.webhooks.endpoints:
        if hook.secret is not None:
            read_secret(hook.name, hook.secret)
    if config.tracing.endpoint is not None:
        yield tracing_problem()
    if config.encryption.enabled:
        from .encryption import encryption_problem  # as in `assemble`

        yield encryption_problem(config.encryption)
    yield access_problem(config)
    for section, endpoints in (("registry", config.registry.listen), ("metrics", config.metrics.listen)):
        for endpoint in endpoints:
            problem = listening_problem(endpoint)
            yield problem and f"[{section}] listen: {endpoint}: {problem}"


def tracing_problem() -> str | None:
    """Why requests cannot be traced, or None."""
    try:
        from .tracing.tracing import configured_headers  # else it is not loaded
    except ImportError as error:
        return (
            f"[tracing] endpoint: install what it needs: .venv/bin/pip install '.[tracing]' in the checkout ({error})"
        )
    try:
        configured_headers()
    except SetupError as error:
        return f"[tracing] endpoint: {error}"
    return None


def _peer_id_problem(state: StateDirectory) -> str | None:
    try:
        read_peer_id(state.path / "peer-id")
    except FileNotFoundError:
        pass
    except SetupError as error:
        return str(error)
    return None
