"""The ``[textile]`` section."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from ...options import Directory, Duration, OptionalDuration, Size
from ..errors import SetupError
from ..loopback import is_loopback
from ..options import PathOptions
from .identity import Identity, load_identity
from .signing import CallMetadata

_NAME = r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$"  # what a server takes for a thread's name (fact sheet, section 3)


class TextileOptions(PathOptions):
    """How to reach a hub (with a key) or a buckd (without), and what to use there."""

    host: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$")] = "http://127.0.0.1:3007"
    key: SecretStr | None = None
    key_file: Directory | None = None
    secret: SecretStr | None = None
    secret_file: Directory | None = None
    identity_file: Directory | None = None
    thread: Annotated[str, Field(pattern=_NAME, max_length=60)] = "buckets"
    bucket: Annotated[str, Field(min_length=1)] = "ipfsreg"
    encrypted: bool = False
    cache_size: Size = 10 * 1024**3
    timeout: Duration = 60.0
    silence: Duration = 600.0
    archive_every: OptionalDuration = None

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        try:
            self.metadata()
            self.identity()
        except (SetupError, OSError) as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def is_hub(self) -> bool:
        """Whether the server is a hub; a buckd knows no keys."""
        return self.metadata().has_key

    def warnings(self) -> list[str]:
        """What the user should be told, though it may be meant so: one line each."""
        if self.is_hub or is_loopback(urlsplit(self.host).hostname or ""):
            return []
        return [
            f"{self.host} is used without a key, as a buckd, which has no authentication: whoever reaches it can read "
            "and change the images, also encrypted ones. Bind it to a loopback address."
        ]

    def metadata(self) -> CallMetadata:
        """What makes the metadata of each call.

        :raises SetupError: for a key or secret that cannot be one. :raises OSError: for a file that cannot be read.
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
    return None if file is None else file.read_text(encoding="utf-8").strip()
