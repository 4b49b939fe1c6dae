"""The ``[kubo]`` section."""

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from ipfsreg.bucket.authorities import check_authorities
from ipfsreg.config.backend_options import BackendOptions, default_directory
from ipfsreg.config.kinds import Directory, Duration, Size
from ipfsreg.config.small_file import SECRET_MAX, read_small_file

from .rpc.address import Address, find_address, parse_address

CHUNK_MAX = 2 * 1024**2 - 256
"""The longest chunk that newer nodes take; before 0.40 it is 1 MiB."""

_SECRET = re.compile(r"[\x20-\x7e]+")


def _folder(value: str) -> str:
    parts = value.strip("/").split("/")
    if not value.startswith("/") or any(part in {"", ".", ".."} for part in parts) or "\0" in value:
        raise ValueError("a folder of the node's MFS is an absolute path such as /ipfsreg")
    if parts[-1] in {"bucket", "markers"}:
        raise ValueError(f"a folder named {parts[-1]} is one that is in the folder of a registry; take another name")
    return "/" + "/".join(parts)


def _chunker(value: str) -> str:
    match = re.fullmatch(r"size-([0-9]{1,9})", value)
    if match is None or not 1 <= int(match[1]) <= CHUNK_MAX:
        raise ValueError(f"a chunker is size-N, with N at most {CHUNK_MAX}: only that gives the same CIDs everywhere")
    return value


def _key(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value):
        raise ValueError("the name of a key of the node: letters, digits, dots, hyphens and underscores")
    return value


def _followed(value: str) -> str:
    if not re.fullmatch(r"/ip[fn]s/[A-Za-z0-9._-]+(?:/[^/\s]+)*", value) or {".", ".."} & set(value.split("/")):
        raise ValueError("what is followed is /ipns/ and a key or domain, or /ipfs/ and a CID")
    return value


def _automatic(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


def _address(value: str | None) -> str | None:
    if value is not None:
        parse_address(value)
    return value


NodeAddress = Annotated[str | None, AfterValidator(_address)]
Automatic = Annotated[bool | None, BeforeValidator(_automatic)]
"""Yes, no, or None for ``auto``."""


class KuboOptions(BackendOptions):
    """How to reach a node, and what to use there. ``path`` is a folder of its MFS, ``directory`` one of this disk."""

    directory_option: ClassVar[str] = "directory"

    directory: Directory = Field(default_factory=default_directory)
    api: NodeAddress = None
    ca: Annotated[Directory | None, AfterValidator(check_authorities)] = None
    index: NodeAddress = None
    authorization: SecretStr | None = None
    authorization_file: Directory | None = None
    path: Annotated[str, AfterValidator(_folder)] = "/ipfsreg"
    chunker: Annotated[str, AfterValidator(_chunker)] = "size-1048576"
    max_file_links: Annotated[int, Field(ge=2, le=8192)] = 1024
    cluster: Automatic = None
    connections: Annotated[int, Field(ge=2, le=256)] = 32
    timeout: Annotated[Duration, Field(gt=0)] = 60.0
    network_timeout: Annotated[Duration, Field(gt=0)] = 60.0
    cache_size: Size = 0
    publish_key: Annotated[str, AfterValidator(_key)] | None = None
    publish_past_rules: bool = False
    publish_every: Annotated[Duration, Field(gt=0)] = 60.0
    follow: Annotated[str, AfterValidator(_followed)] | None = None
    follow_every: Annotated[Duration, Field(gt=0)] = 60.0

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.follow is not None and self.publish_key is not None:
            raise ValueError("follow and publish_key: a mirror publishes nothing; take one of the two away")
        if self.follow is not None and (self.cluster or self.index is not None):
            raise ValueError("follow is for a node's own api: not with index, nor with the proxy of a cluster")
        return self

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        try:
            self.header()
        except OSError as error:
            raise ValueError(f"[kubo] authorization_file: {error.strerror}: {self.authorization_file}") from None
        return self

    def node(self) -> Address:
        """Where the node is, looked up now."""
        return replace(find_address() if self.api is None else parse_address(self.api), authorities=self.ca)

    def index_node(self) -> Address:
        """Where the node is whose MFS has the folder."""
        return self.node() if self.index is None else replace(parse_address(self.index), authorities=self.ca)

    def header(self) -> bytes | None:
        """The ``Authorization`` header, computed as Kubo does from an ``AuthSecret`` of its ``API.Authorizations``.

        See docs/protocols/kubo.md, "Authorization".

        :raises OSError: for a file that cannot be read. :raises ValueError: for what is no secret.
        """
        secret = _value(self.authorization, self.authorization_file)
        if secret is None:
            return None
        if not _SECRET.fullmatch(secret):
            raise ValueError("[kubo] authorization: bearer:TOKEN or basic:USER:PASSWORD, in printable characters")
        kind, colon, rest = secret.partition(":")
        if not colon or kind == "bearer":
            return f"Bearer {rest if colon else secret}".encode()
        if kind != "basic":
            raise ValueError("[kubo] authorization: it begins with bearer: or basic:")
        return b"Basic " + (base64.b64encode(rest.encode()) if ":" in rest else rest.encode())

    @property
    def publishes(self) -> str | None:
        return None if self.publish_key is None else "publish_key"

    @property
    def publishes_past_rules(self) -> bool:
        return self.publish_past_rules

    def warnings(self) -> list[str]:
        """What the user should be told, though it may be meant so: one line each."""
        if self.header() is None:
            return []
        return [
            f"The secret of [kubo] authorization goes to {address} unencrypted; use https or an address of this "
            "machine."
            for address in {self.node(), self.index_node()}
            if not address.is_private
        ]


def _value(value: SecretStr | None, file: Path | None) -> str | None:
    if value is not None:
        return value.get_secret_value().strip()
    return None if file is None else read_small_file(file, SECRET_MAX).decode("utf-8").strip()
