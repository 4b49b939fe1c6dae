"""The sections that every configuration has, and what one that was read is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_config_path
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ipfsreg.ipfs.multiaddr import to_multiaddr

from .backend_options import BackendOptions
from .kinds import (
    Directory,
    Duration,
    Listed,
    OptionalDuration,
    OptionalPositive,
    OptionalSize,
    Positive,
    Rate,
    Section,
    Size,
    or_none,
    url_problem,
)
from .tls_options import TlsOptions
from .webhook_options import WebhookOptions


def _proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    for each in value:
        try:
            if each != "unix":
                ip_network(each)
        except ValueError as error:
            raise ValueError(f"a proxy is an IP address, a network such as 10.0.0.0/8, or unix: {error}") from None
    return value


def _hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not _HOST.fullmatch(value):
            raise ValueError(f"{value[:99]} is not the name of a host, such as registry.example.org, without a port")
    return tuple(value.lower() for value in values)


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*" and not _ORIGIN.fullmatch(value):
            raise ValueError(f"{value[:99]} is neither an origin, such as https://ui.example.org, nor *")
    return tuple(value.lower() for value in values)


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _levels(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        namespace, is_own, level = value.rpartition("=")
        if level not in LOG_LEVELS:
            raise ValueError(f"{level[:99]!r} is not one of {', '.join(LOG_LEVELS)}")
        if is_own and not _NAMESPACE.fullmatch(namespace):
            raise ValueError(f"{namespace[:99]!r} is not a name as the log has it, such as ipfsreg.bucket")
    return values


LOG_LEVELS = ("debug", "info", "warn", "error", "critical")

_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63}){0,126}")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[][A-Za-z0-9._:-]{1,270}")


class RegistryOptions(Section):
    """``[registry]``."""

    listen: Annotated[Listed, Field(min_length=1)] = ("tcp:5000:interface=127.0.0.1",)
    backend: str = "local"
    max_manifest_size: Annotated[Size, Field(gt=0)] = 4 * 1024**2
    max_blob_size: OptionalSize = None
    cache_memory: Size = 32 * 1024**2
    threads: Annotated[int, Field(ge=2, le=256)] = 16
    idle_timeout: Positive = 60.0
    stall_timeout: Positive = 300.0
    body_timeout: Positive = 1800.0
    shutdown_grace: Duration = 10.0
    access_log: bool = False
    trusted_proxies: Annotated[Listed, AfterValidator(_proxies)] = ()
    allowed_hosts: Annotated[Listed, AfterValidator(_hosts)] = ()
    cors_origins: Annotated[Listed, AfterValidator(_origins)] = ()


class UploadOptions(Section):
    """``[uploads]``."""

    expiry: Duration = 24 * 3600.0
    maximum: Annotated[int, Field(ge=1)] = 10_000
    per_client: Annotated[int, Field(ge=1)] = 1000


OptionalCount = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(or_none)]
"""A number of something, or None for ``unlimited``."""


class LimitOptions(Section):
    """``[limits]``: what clients may take. Sizes in bytes; ``requests`` is a second for each address."""

    connections: OptionalCount = 4000
    connections_per_address: OptionalCount = 1000
    requests: Annotated[Annotated[float, Field(ge=0.001, le=1e6)] | None, BeforeValidator(or_none)] = None
    header_size: Annotated[Size, Field(ge=8 * 1024, le=1024**2)] = 32 * 1024
    headers: Annotated[int, Field(ge=50, le=10_000)] = 500
    tags: Annotated[int, Field(ge=10, le=1000)] = 100
    uploads_per_user: OptionalCount = 1000
    unfinished_size_per_user: OptionalSize = 100 * 1024**3
    repository_size: OptionalSize = None
    total_size: OptionalSize = None


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
    """``[gateway]``. ``private`` are patterns of repositories' names whose content is not to be had by CID."""

    enabled: bool = True
    private: Listed = ()
    address: Annotated[str, AfterValidator(to_multiaddr)] | None = None


class PagesOptions(Section):
    """``[pages]``: pages for people."""

    enabled: bool = True


class PinOptions(Section):
    """``[pin]``."""

    service: Annotated[str, Field(min_length=1)] | None = None
    interval: Positive = 60.0


class AuthOptions(Section):
    """``[auth]``: who is known. ``robots`` is None for the file in the state directory."""

    htpasswd: Directory | None = None
    robots: Directory | None = None
    issuers: Directory | None = None
    certificate_users: str = ""
    challenge: Literal["token", "basic"] = "token"
    url: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9._:\[\]/-]{1,255}$")] | None = None
    insecure: bool = False
    service: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,255}$")] = "ipfsreg"
    token_lifetime: Annotated[Positive, Field(ge=60, le=86400)] = 300.0
    login_lifetime: Annotated[Positive, Field(ge=60)] = 90 * 86400.0


class AccessOptions(Section):
    """``[access]``: the rules, as `ipfsreg.access.rules` reads them. None is no access control."""

    rules: str | None = None


class LogOptions(Section):
    """``[log]``. ``level`` is a level for all and, as ``ipfsreg.web=debug``, others for what a part of it says."""

    format: Literal["text", "json"] = "text"
    level: Annotated[Listed, AfterValidator(_levels)] = ("info",)
    access: Directory | None = None
    audit: Directory | None = None


class EncryptionOptions(Section):
    """``[encryption]``. ``owner`` is the public key of the bucket's founder, in hexadecimal digits."""

    enabled: bool = False
    key: Directory = Field(default_factory=lambda: user_config_path("ipfsreg").absolute() / "member.key")
    passphrase_file: Directory | None = None
    owner: Annotated[str, BeforeValidator(_lower), Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    convert: Literal["encrypt", "decrypt"] | None = None
    refresh: Positive = 15.0
    rate: Rate = 10 * 1024**2


class RetentionOptions(Section):
    """``[retention]``. ``rules`` and ``immutable`` are as `ipfsreg.registry` reads them; ``pulls`` notes pulls."""

    rules: str | None = None
    interval: OptionalPositive = 24 * 3600.0
    immutable: Listed = ()
    pulls: bool = False


class EventOptions(Section):
    """``[events]``. ``clients`` is how many may listen to ``/events`` at once; none where it is 0."""

    clients: Annotated[int, Field(ge=0, le=10_000)] = 100


class MetricsOptions(Section):
    """``[metrics]``. Where ``listen`` has endpoints, it is there that they are, and nowhere else.

    ``enabled`` is None where nothing is said of it: `are_wanted` says what counts.
    """

    enabled: bool | None = None
    listen: Listed = ()

    @model_validator(mode="after")
    def _fit(self) -> Any:
        if self.listen and self.enabled is False:
            raise ValueError("enabled = no says that there are none, and listen where they are: take one out")
        return self

    @property
    def are_wanted(self) -> bool:
        """Whether anything is counted."""
        return bool(self.enabled or self.listen)


def _traces_url(value: str) -> str:
    problem = url_problem(value)
    if problem is not None or "?" in value or "#" in value:
        raise ValueError(f"the URL of a receiver of traces {problem or 'has a query or a fragment: take it out'}")
    return value.rstrip("/").removesuffix("/v1/traces") + "/v1/traces"  # as OpenTelemetry's programs understand it


class TracingOptions(Section):
    """``[tracing]``. ``endpoint`` is where traces are sent by OTLP over HTTP; None is that there are none.

    ``ratio`` is the part of the requests that are traced of which the client does not say whether they should be.
    """

    endpoint: Annotated[str, AfterValidator(_traces_url)] | None = None
    ratio: Annotated[float, Field(ge=0, le=1)] = 1.0


SECTIONS: Mapping[str, type[Section]] = {
    "registry": RegistryOptions,
    "tls": TlsOptions,
    "auth": AuthOptions,
    "access": AccessOptions,
    "log": LogOptions,
    "uploads": UploadOptions,
    "limits": LimitOptions,
    "gc": GcOptions,
    "scrub": ScrubOptions,
    "ipfs": IpfsOptions,
    "gateway": GatewayOptions,
    "pages": PagesOptions,
    "pin": PinOptions,
    "encryption": EncryptionOptions,
    "retention": RetentionOptions,
    "webhooks": WebhookOptions,
    "events": EventOptions,
    "metrics": MetricsOptions,
    "tracing": TracingOptions,
}
"""The sections that a file may have beside those of the backends."""


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that was read and found sensible. ``name`` is what to call it: its file, mostly."""

    name: str = field(compare=False)
    registry: RegistryOptions
    tls: TlsOptions
    auth: AuthOptions
    access: AccessOptions
    log: LogOptions
    uploads: UploadOptions
    limits: LimitOptions
    gc: GcOptions
    scrub: ScrubOptions
    ipfs: IpfsOptions
    gateway: GatewayOptions
    pages: PagesOptions
    pin: PinOptions
    encryption: EncryptionOptions
    retention: RetentionOptions
    webhooks: WebhookOptions
    events: EventOptions
    metrics: MetricsOptions
    tracing: TracingOptions
    backends: Mapping[str, BackendOptions]
    """The sections of all backends, for what is done before one is used."""

    @property
    def backend(self) -> BackendOptions:
        """The section of the backend that is used."""
        return self.backends[self.registry.backend]

    def with_directory(self, directory: Path) -> "Config":
        """The same with another directory on this disk for the backend that is used."""
        options = self.backend.model_copy(update={self.backend.directory_option: directory})
        return replace(self, backends={**self.backends, self.registry.backend: options})
