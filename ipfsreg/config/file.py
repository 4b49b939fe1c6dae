"""The configuration file: where it is looked for, and how it is read."""

import configparser
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from platformdirs import user_config_path
from pydantic import ValidationError

from .backend_options import BackendOptions
from .endpoints import EndpointError, check_endpoint, has_tls, is_any_port, is_for_this_machine
from .environment import options_from
from .errors import ConfigError, malformed, refused, suggestion
from .kinds import Section
from .sections import SECTIONS, Config
from .small_file import CONFIG_MAX, read_small_file

SYSTEM_FILE = Path("/etc/ipfsreg.ini")
"""Where the configuration is looked for last."""

NO_FILE = "configuration"
"""What the configuration is called where it has no file."""

Backends = Mapping[str, Callable[[], type[BackendOptions]]]
"""What loads the options of a backend's section, by its name."""


class _BackendSections(Mapping[str, BackendOptions]):
    """The sections of all backends, each made when it is asked for: a backend that nobody uses is not loaded."""

    def __init__(self, names: Iterable[str], make: Callable[[str], Any]) -> None:
        self._names = tuple(names)
        self._make = make
        self._made: dict[str, BackendOptions] = {}

    def __getitem__(self, name: str) -> BackendOptions:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def find_config() -> Path | None:
    """The first of ``./ipfsreg.ini``, the user's and the system's configuration file that is there.

    One that is there but cannot be read is not passed over: who reads it is told why.
    """
    candidates = [Path("ipfsreg.ini"), user_config_path("ipfsreg") / "ipfsreg.ini", SYSTEM_FILE]
    return next((path for path in candidates if _is_there(path)), None)


def read_config(
    path: Path | None,
    backends: Backends,
    reactor: Any,
    environment: Mapping[str, str] = os.environ,
    *,
    for_daemon: bool = True,
) -> Config:
    """Read a configuration file; without one (None) the defaults are the configuration.

    What the file does not say may come from the environment; see `environment`. Only ``for_daemon`` is it checked
    that one can listen as it says, which may need files that only the daemon can read.

    :raises ConfigError: for anything that has to be changed.
    """
    name = NO_FILE if path is None else str(path)
    in_file = {} if path is None else _parse(name, path)
    for section in in_file:
        if section not in SECTIONS and section not in backends:
            raise ConfigError(f"{name}: unknown section [{section}]{suggestion(section, [*SECTIONS, *backends])}")
    given = options_from(environment, has_file=path is not None)
    backend = {**given.get("registry", {}), **in_file.get("registry", {})}.get("backend", "local")

    def of_backend(section: str) -> Section:
        # What the environment says of other backends is not meant for this daemon.
        from_environment = given.get(section, {}) if section == backend else {}
        return _validated(name, section, backends[section](), in_file.get(section, {}), from_environment)

    sections: dict[str, Any] = {
        section: _validated(name, section, options, in_file.get(section, {}), given.get(section, {}))
        if section in in_file or section in given
        else options.model_construct()  # the defaults, which are valid: what validates need not even be made
        for section, options in SECTIONS.items()
    }
    of_backends = _BackendSections(backends, of_backend)
    for section in backends:
        if section in in_file or section == backend:
            of_backends[section]  # what is wrong with it is told now
    if backend not in backends:
        maybe = suggestion(backend, backends)
        raise ConfigError(f"{name}: [registry] backend: {backend!r} is not one of {', '.join(backends)}{maybe}")
    config = Config(name, **sections, backends=of_backends)
    if for_daemon:
        _check_listen(config, reactor)
        problem = config.backend.problem()
        if problem is not None:
            raise ConfigError(f"{name}: [{backend}] {problem}")
    _check_published(config)
    return config


def _check_published(config: Config) -> None:
    backend = config.backend
    public = f"{config.name}: [{config.registry.backend}] {backend.publishes}: it makes everything public,"
    if backend.publishes is not None and config.gateway.private:
        raise ConfigError(f"{public} also the repositories of [gateway] private; take one of the two away")
    is_encrypted = config.encryption.enabled and config.encryption.convert is None
    keeps_from_somebody = config.access.rules is not None and not is_encrypted
    if backend.publishes is not None and keeps_from_somebody and not backend.publishes_past_rules:
        raise ConfigError(f"{public} whatever the rules of [access] say; publish_past_rules = yes if that is meant")


def _is_there(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _parse(name: str, path: Path) -> dict[str, dict[str, str]]:
    try:
        content = read_small_file(path, CONFIG_MAX)
    except OSError as error:
        link = f" (it is a link to {os.readlink(path)})" if os.path.islink(path) else ""
        raise ConfigError(f"{name}: {error.strerror}{link}") from None
    return options_in(name, content)


def options_in(name: str, content: bytes) -> dict[str, dict[str, str]]:
    """The options of each section of a file's content, as they are written there.

    :raises ConfigError: where it is not in the format.
    """
    # The format's [DEFAULT], whose options would be in every section, is no section of ours.
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        parser.read_string(content.decode("utf-8-sig"), source=name)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except configparser.Error as error:
        raise malformed(name, error) from None
    return {section: dict(parser.items(section)) for section in parser.sections()}


def _validated(
    name: str, section: str, options: type[Section], in_file: Mapping[str, str], given: Mapping[str, str]
) -> Section:
    # What the file has in a file of its own is given by the file, too.
    from_environment = {option: value for option, value in given.items() if f"{option}_file" not in in_file}
    try:
        return options.model_validate({**from_environment, **in_file}, context={"file": in_file.keys()})
    except ValidationError as error:
        raise refused(name, section, options, error, in_file, from_environment) from None


def _check_listen(config: Config, reactor: Any) -> None:
    listen = config.registry.listen
    everywhere = [("registry", endpoint) for endpoint in listen] + [("metrics", each) for each in config.metrics.listen]
    seen: set[str] = set()
    for section, endpoint in everywhere:
        try:
            check_endpoint(endpoint, reactor)
        except EndpointError as error:
            raise ConfigError(f"{config.name}: [{section}] listen: {error}") from None
        if endpoint in seen and not is_any_port(endpoint):
            raise ConfigError(f"{config.name}: [{section}] listen: {endpoint!r} is there twice")
        seen.add(endpoint)
        if section == "metrics" and has_tls(endpoint):
            raise ConfigError(
                f"{config.name}: [metrics] listen: {endpoint!r}: the certificates of [tls] are for clients only; "
                "metrics are plain HTTP here, or with enabled = yes and no listen on the port of clients"
            )
    with_tls = [endpoint for endpoint in listen if has_tls(endpoint)]
    if with_tls and not config.tls.certificate:
        raise ConfigError(f"{config.name}: [registry] listen: {with_tls[0]!r} needs [tls] certificate and key")
    open_to_all = [endpoint for endpoint in listen if not is_for_this_machine(endpoint)]
    if open_to_all and config.access.rules is None and not config.auth.insecure:
        raise ConfigError(
            f"{config.name}: [registry] listen: {open_to_all[0]!r} lets whoever reaches it push and delete: add "
            "rules to [access] (docs/security.md), or [auth] insecure = yes where that is wanted, as behind a firewall"
        )
    if config.tls.certificate and not with_tls:
        raise ConfigError(f"{config.name}: [tls] certificate: nothing uses it; add tls:5443 to [registry] listen")
