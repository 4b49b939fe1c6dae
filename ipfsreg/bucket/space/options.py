"""The ``[space]`` section."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from platformdirs import user_config_path
from pydantic import Field, SecretStr

from ...options import Directory, Duration, Size
from ..errors import SetupError
from ..loopback import is_loopback
from ..options import PathOptions

DEFAULT_TOKEN_FILE = user_config_path("ipfsreg") / "space-token"
"""Where `ipfsreg space init` puts the token, and where it is looked for, unless something else is said."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class SpaceOptions(PathOptions):
    """How to reach the daemon and what to use there."""

    url: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$")] = "http://127.0.0.1:9998"
    token: SecretStr | None = None
    token_file: Directory = DEFAULT_TOKEN_FILE
    bucket: Annotated[str, Field(pattern=r"^[^\s/]+$", max_length=200)] = "ddocker"
    cache_size: Size = 10 * 1024**3
    timeout: Annotated[Duration, Field(gt=60)] = 90.0

    @property
    def staging(self) -> Path:
        """The directory that the daemon reads uploads from."""
        return self.path / "staging"

    def problem(self) -> str | None:
        """See `PathOptions.problem`."""
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
        if self.token is not None and "token_file" not in self.model_fields_set:
            return _checked(self.token.get_secret_value(), "token")
        try:
            return _checked(self.token_file.read_text(encoding="ascii"), f"the file {self.token_file}")
        except FileNotFoundError:
            return None if self.token is None else _checked(self.token.get_secret_value(), "token")
        except OSError as error:
            raise SetupError(f"cannot read token_file {self.token_file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SetupError(f"the file {self.token_file} holds no token of a Space Daemon") from None

    def warnings(self) -> list[str]:
        """What the user should be told, though it may be meant so: one line each."""
        if is_loopback(urlsplit(self.url).hostname or ""):
            return []
        return [
            f"{self.url} is not this machine: the Space Daemon has to see {self.staging}, and this machine the "
            "daemon's temporary directory, under the same paths."
        ]


def _checked(token: str, what: str) -> str:
    token = token.strip()
    if not _TOKEN.fullmatch(token):
        raise SetupError(f"{what} holds no token of a Space Daemon, which is two words of letters with a dot between")
    return token
