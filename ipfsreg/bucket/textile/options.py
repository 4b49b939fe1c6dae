"""The ``[textile]`` section."""

import stat
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from ipfsreg.bucket.authorities import check_authorities
from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.backend_options import PathOptions
from ipfsreg.config.endpoints import is_loopback
from ipfsreg.config.kinds import Directory, OptionalPositive, Positive, Size
from ipfsreg.config.small_file import SECRET_MAX, read_small_file
from ipfsreg.grpcweb.channel import check_server

from .placement import may_be_of_a_level
from .server.identity import Identity, load_identity
from .server.signing import CallMetadata

_NAME = r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$"
"""What a server takes for a thread's name (docs/protocols/textile.md, "Threads")."""


class TextileOptions(PathOptions):
    """How to reach a hub (with a key) or a buckd (without), and what to use there."""

    host: Annotated[str, AfterValidator(check_server)] = "http://127.0.0.1:3007"
    ca: Annotated[Directory | None, AfterValidator(check_authorities)] = None
    key: SecretStr | None = None
    key_file: Directory | None = None
    secret: SecretStr | None = None
    secret_file: Directory | None = None
    identity_file: Directory | None = None
    thread: Annotated[str, Field(pattern=_NAME, max_length=60)] = "buckets"
    bucket: Annotated[str, Field(min_length=1)] = "ipfsreg"
    encrypted: bool = False
    cache_size: Size = 10 * 1024**3
    timeout: Positive = 60.0
    silence: Positive = 600.0
    archive_every: OptionalPositive = None

    @field_validator("key_file", "secret_file", "identity_file")
    @classmethod
    def _readable(cls, file: Path | None) -> Path | None:
        if file is not None and not _content(file):
            raise ValueError(f"the file {file} is empty")
        return file

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        for option in ("key", "secret"):
            if getattr(self, option) is not None and getattr(self, f"{option}_file") is not None:
                raise ValueError(f"{option} and {option}_file are both there; leave one out")
        if not _value(self.key, self.key_file) and _value(self.secret, self.secret_file):
            raise ValueError("secret: there is no key that it belongs to; set key or key_file too")
        try:
            self.metadata()
            self.identity()
        except SetupError as error:
            raise ValueError(str(error)) from None
        if may_be_of_a_level(self.thread):
            raise ValueError(
                f"thread: {self.thread} may be one that another registry makes when it grows; add a letter"
            )
        return self

    @property
    def is_hub(self) -> bool:
        """Whether the server is a hub; a buckd knows no keys."""
        return self.metadata().has_key

    def warnings(self) -> list[str]:
        """What the user should be told, though it may be meant so: one line each."""
        found = [
            f"The {option} {file} can be read by every user of this machine: chmod o= it."
            for option in ("key_file", "secret_file", "identity_file")
            if (file := getattr(self, option)) is not None and _for_everybody(file)
        ]
        address = urlsplit(self.host)
        if is_loopback(address.hostname or ""):
            return found
        if address.scheme == "http":
            sent = [
                name for name, there in (("key", self.is_hub), ("token of the identity", self.identity_file)) if there
            ]
            if sent:
                found.append(
                    f"The {' and the '.join(sent)} and all images go to {self.host} unencrypted: whoever listens on "
                    "the way has them. Use https, or an address of this machine."
                )
        if not self.is_hub:
            found.append(
                f"{self.host} is used without a key, as a buckd, which has no authentication: whoever reaches it can "
                "read and change the images, also encrypted ones. Bind it to a loopback address."
            )
        return found

    def metadata(self) -> CallMetadata:
        """What makes the metadata of each call.

        :raises SetupError: for a key or secret that cannot be one. :raises ValueError: for a file that cannot be read.
        """
        return CallMetadata(_value(self.key, self.key_file), _value(self.secret, self.secret_file))

    def identity(self) -> Identity | None:
        """The key pair of this daemon, where one is configured.

        :raises SetupError: for a file that holds none.
        """
        return None if self.identity_file is None else load_identity(self.identity_file)


def _value(value: SecretStr | None, file: Path | None) -> str | None:
    if value is not None:
        return value.get_secret_value()
    return None if file is None else _content(file)


def _content(file: Path) -> str:
    try:
        return read_small_file(file, SECRET_MAX).decode("ascii").strip()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text with a key in it") from None


def _for_everybody(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False
