"""The ``[space]`` section."""

import os
import re
import stat
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from platformdirs import user_config_path
from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, model_validator

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.backend_options import PathOptions
from ipfsreg.config.endpoints import is_loopback
from ipfsreg.config.kinds import Directory, Duration, Size
from ipfsreg.config.small_file import SECRET_MAX, read_small_file
from ipfsreg.grpcweb.channel import check_server

BUCKET_MAX = 200

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

NO_TOKEN = "holds no token of a Space Daemon, which is two words of letters with a dot between"


def default_token_file() -> Path:
    """Where `ipfsreg space init` puts the token, and where it is looked for, unless something else is said."""
    return user_config_path("ipfsreg") / "space-token"


def check_bucket(name: str) -> str:
    """The name, if it can be one of a bucket; else ValueError."""
    if not name or len(name) > BUCKET_MAX or "/" in name or not name.isprintable() or " " in name:
        raise ValueError(f"the name of a bucket has 1 to {BUCKET_MAX} characters, and no slash, space or line break")
    return name


def _checked_token(token: SecretStr) -> SecretStr:
    if _TOKEN.fullmatch(token.get_secret_value().strip()) is None:
        raise ValueError(NO_TOKEN)
    return token


class SpaceOptions(PathOptions):
    """How to reach the daemon and what to use there."""

    url: Annotated[str, AfterValidator(check_server)] = "http://127.0.0.1:9998"
    token: Annotated[SecretStr, AfterValidator(_checked_token)] | None = None
    token_file: Directory = Field(default_factory=default_token_file)
    bucket: Annotated[str, AfterValidator(check_bucket)] = "ddocker"
    cache_size: Size = 10 * 1024**3
    timeout: Annotated[Duration, Field(gt=60)] = 90.0

    @model_validator(mode="after")
    def _only_one_token(self, info: ValidationInfo) -> Self:
        if info.context is not None and {"token", "token_file"} <= set(info.context["file"]):
            raise ValueError("token and token_file are both there: leave one of them out")
        return self

    @property
    def staging(self) -> Path:
        """The directory that the daemon reads uploads from."""
        return self.path / "staging"

    def problem(self) -> str | None:
        try:
            self.app_token()
        except SetupError as error:
            return str(error)
        return None

    def app_token(self) -> str:
        """The token that each call needs.

        :raises SetupError: where there is none, or something that cannot be one; it is never quoted.
        """
        token = self.known_token()
        if token is None:
            raise SetupError(
                f"no token of the Space Daemon: run `ipfsreg space init`, which stores one in {self.token_file}, or "
                "set token, token_file or the variable DAEMON_TOKEN"
            )
        return token

    def known_token(self) -> str | None:
        """The token, or None where there is none yet: a file that is named need not be there before `space init`.

        :raises SetupError: for a file that cannot be read, and for something that cannot be a token.
        """
        # A file that is named comes before the variable of the original program.
        given = None if self.token is None else self.token.get_secret_value().strip()
        if given is not None and "token_file" not in self.model_fields_set:
            return given
        try:
            token = read_small_file(self.token_file, SECRET_MAX).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return given
        except OSError as error:
            raise SetupError(f"cannot read token_file {self.token_file}: {error.strerror}") from None
        if not _TOKEN.fullmatch(token):
            raise SetupError(f"the file {self.token_file} {NO_TOKEN}")
        return token

    def warnings(self) -> list[str]:
        """What the user should be told, though it may be meant so: one line each."""
        warnings = []
        if not is_loopback(urlsplit(self.url).hostname or ""):
            clear = "" if self.url.startswith("https:") else ", and the token goes over the network in clear"
            warnings.append(
                f"{self.url} is not this machine: the Space Daemon has to see {self.staging}, and this machine the "
                f"daemon's temporary directory, under the same paths{clear}."
            )
        if (self.token is None or "token_file" in self.model_fields_set) and self._others_may_read_token():
            warnings.append(
                f"Others may read the token, and so do anything with the buckets: chmod 600 {self.token_file}"
            )
        return warnings

    def _others_may_read_token(self) -> bool:
        try:
            found = self.token_file.stat()
        except OSError:
            return False
        # A service's credential belongs to another user, and its group bits are how this one may read it.
        others = stat.S_IRWXG | stat.S_IRWXO if found.st_uid == os.geteuid() else stat.S_IRWXO
        return bool(found.st_mode & others)
