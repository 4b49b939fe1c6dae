"""The configuration file: where it is looked for, what it may say, and what is wrong with it in one line."""

import configparser
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from platformdirs import user_config_path
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ipfsreg.bucket.backends import BACKENDS
from ipfsreg.bucket.options import BackendOptions
from ipfsreg.ipfs.multiaddr import to_multiaddr
from ipfsreg.registry.registry import Limits

from .endpoints import EndpointError, check_endpoint, is_any_port
from .environment import options_from, variable_of
from .kinds import Duration, OptionalDuration, OptionalSize, Rate, Section, Size

S = TypeVar("S", bound=Section)

_SHOWN_MAX = 200  # characters of a wrong value


class ConfigError(Exception):
    """Something that the user has to change: one line that names file, section and option."""


def _list(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.replace("\n", ",").split(",") if part.strip())
    return value


class RegistryOptions(Section):
    """``[registry]``."""

    listen: Annotated[tuple[str, ...], BeforeValidator(_list), Field(min_length=1)] = ("tcp:5000:interface=127.0.0.1",)
    backend: str = "local"
    max_manifest_size: Annotated[Size, Field(gt=0)] = 4 * 1024**2
    max_blob_size: OptionalSize = None
    cache_memory: Size = 32 * 1024**2
    threads: Annotated[int, Field(ge=2, le=256)] = 16
    idle_timeout: Annotated[Duration, Field(gt=0)] = 60.0
    stall_timeout: Annotated[Duration, Field(gt=0)] = 300.0
    shutdown_grace: Duration = 10.0
    access_log: bool = False


class UploadOptions(Section):
    """``[uploads]``."""

    expiry: Duration = 24 * 3600.0
    maximum: Annotated[int, Field(ge=1)] = 10_000


class GcOptions(Section):
    """``[gc]``."""

    interval: OptionalDuration = 3600.0
    grace: Duration = 3600.0
    untagged: OptionalDuration = 24 * 3600.0


class ScrubOptions(Section):
    """``[scrub]``."""

    rate: Rate = 10 * 1024**2
    interval: OptionalDuration = 7 * 24 * 3600.0


class IpfsOptions(Section):
    """``[ipfs]``."""

    pull_by_cid: Literal["network", "registry", "never"] = "network"
    publish: Literal["never", "always"] = "never"


class GatewayOptions(Section):
    """``[gateway]``."""

    enabled: bool = True
    private: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    address: Annotated[str, AfterValidator(to_multiaddr)] | None = None

    def allows(self, repository: str) -> bool:
        """Whether content of a repository may be had by CID."""
        return not any(fnmatchcase(repository, pattern) for pattern in self.private)


class PinOptions(Section):
    """``[pin]``."""

    service: Annotated[str, Field(min_length=1)] | None = None
    interval: Annotated[Duration, Field(gt=0)] = 60.0


SYSTEM_FILE = Path("/etc/ipfsreg.ini")
"""Where the configuration is looked for last."""

_SECRETS = {"authorization", "key", "secret", "token"}  # their values are never quoted
_CREDENTIALS = re.compile(r"[^\s'\"]*@")  # nor is what a URL has before its host

SECTIONS: dict[str, type[Section]] = {
    "registry": RegistryOptions,
    "uploads": UploadOptions,
    "gc": GcOptions,
    "scrub": ScrubOptions,
    "ipfs": IpfsOptions,
    "gateway": GatewayOptions,
    "pin": PinOptions,
    **{name: backend.options for name, backend in BACKENDS.items()},
}
"""Every section that a file may have."""


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that was read and found sensible. ``name`` is what to call it: its file, mostly."""

    name: str = field(compare=False)
    registry: RegistryOptions
    uploads: UploadOptions
    gc: GcOptions
    scrub: ScrubOptions
    ipfs: IpfsOptions
    gateway: GatewayOptions
    pin: PinOptions
    backend: BackendOptions
    """The section of the backend that is used."""
    backends: Mapping[str, BackendOptions]
    """The sections of all backends, for what is done before one is used."""

    @property
    def limits(self) -> Limits:
        """What the registry is told of it."""
        return Limits(
            cache_memory=self.registry.cache_memory,
            max_manifest_size=self.registry.max_manifest_size,
            max_blob_size=self.registry.max_blob_size,
            max_uploads=self.uploads.maximum,
            upload_expiry=self.uploads.expiry,
            gc_grace=self.gc.grace,
            gc_untagged=self.gc.untagged,
            scrub_rate=self.scrub.rate,
        )


def find_config() -> Path | None:
    """The first of ``./ipfsreg.ini``, the user's and the system's configuration file that is there."""
    candidates = [Path("ipfsreg.ini"), user_config_path("ipfsreg") / "ipfsreg.ini", SYSTEM_FILE]
    return next((path for path in candidates if path.is_file()), None)


def load_config(
    path: Path | None,
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
    # The format's [DEFAULT], whose options would be in every section, is no section of ours.
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    name = "configuration" if path is None else str(path)
    if path is not None:
        try:
            parser.read_string(path.read_text(encoding="utf-8-sig"), source=name)
        except OSError as error:
            raise ConfigError(f"{name}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{name}: not UTF-8 ({error.reason} at byte {error.start})") from None
        except configparser.Error as error:
            raise ConfigError(f"{name}: {_what_is_wrong(error)}") from None
    for section in parser.sections():
        if section not in SECTIONS:
            raise ConfigError(f"{name}: unknown section [{section}]{_suggestion(section, SECTIONS)}")
    given = options_from(environment, has_file=path is not None)
    backend_name = parser.get("registry", "backend", fallback=given.get("registry", {}).get("backend", "local"))
    # What the environment says of other backends is not meant for this daemon.
    sections = {
        section: _read(parser, name, section, options, {} if section in BACKENDS.keys() - {backend_name} else given)
        for section, options in SECTIONS.items()
    }
    registry = sections["registry"]
    assert isinstance(registry, RegistryOptions)
    if registry.backend not in BACKENDS:
        raise ConfigError(
            f"{name}: [registry] backend: {registry.backend!r} is not one of {', '.join(BACKENDS)}"
            f"{_suggestion(registry.backend, BACKENDS)}"
        )
    for endpoint in registry.listen if for_daemon else ():
        try:
            check_endpoint(endpoint, reactor)
        except EndpointError as error:
            raise ConfigError(f"{name}: [registry] listen: {error}") from None
        if registry.listen.count(endpoint) > 1 and not is_any_port(endpoint):
            raise ConfigError(f"{name}: [registry] listen: {endpoint!r} is there twice")
    backend = _as(BackendOptions, sections[registry.backend])
    problem = backend.problem() if for_daemon else None
    if problem is not None:
        raise ConfigError(f"{name}: [{registry.backend}] {problem}")
    gateway = _as(GatewayOptions, sections["gateway"])
    if backend.publishes is not None and gateway.private:
        raise ConfigError(
            f"{name}: [{registry.backend}] {backend.publishes}: it makes everything public, also the repositories of "
            "[gateway] private; take one of the two away"
        )
    return Config(
        name=name,
        registry=registry,
        uploads=_as(UploadOptions, sections["uploads"]),
        gc=_as(GcOptions, sections["gc"]),
        scrub=_as(ScrubOptions, sections["scrub"]),
        ipfs=_as(IpfsOptions, sections["ipfs"]),
        gateway=gateway,
        pin=_as(PinOptions, sections["pin"]),
        backend=backend,
        backends={each: _as(BackendOptions, sections[each]) for each in BACKENDS},
    )


def _as(kind: type[S], section: Section) -> S:
    assert isinstance(section, kind)
    return section


def _read(
    parser: configparser.ConfigParser,
    name: str,
    section: str,
    options: type[S],
    given: Mapping[str, Mapping[str, str]],
) -> S:
    values = dict(parser.items(section)) if parser.has_section(section) else {}
    # What the file has in a file of its own is given by the file, too.
    from_environment = {
        option: value for option, value in given.get(section, {}).items() if f"{option}_file" not in values
    }
    try:
        return options.model_validate({**from_environment, **values}, context={"file": values.keys()})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            what = f"unknown option{_suggestion(option, options.model_fields)}"
        else:
            what = first["msg"].removeprefix("Value error, ")
            if not option:  # what is wrong concerns several options, and says which
                raise ConfigError(f"{name}: [{section}]: {what}") from None
            if option not in _SECRETS:
                value = _CREDENTIALS.sub("…@", repr(values.get(option, from_environment.get(option))))
                what += f" (it is {_short(value)})"
        if option in from_environment and option not in values:
            raise ConfigError(f"{variable_of(section, option)} in the environment: {what}") from None
        raise ConfigError(f"{name}: [{section}] {option}: {what}") from None


def _what_is_wrong(error: configparser.Error) -> str:
    # The library quotes the line, and that may have a secret in it.
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno}: an option outside of any section"
    if isinstance(error, configparser.ParsingError):
        return f"line {error.errors[0][0]}: neither a section, an option nor a comment"
    if isinstance(error, configparser.DuplicateOptionError):
        return f"line {error.lineno}: [{error.section}] {error.option}: there already"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"line {error.lineno}: [{error.section}]: there already"
    return _short(" ".join(str(error).split()))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _suggestion(word: str, known: Iterable[str]) -> str:
    matches = get_close_matches(word, list(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""
