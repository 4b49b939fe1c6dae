"""The keys with which our own tokens are signed, in a file of the state directory.

HMAC-SHA-256: whoever signs also verifies, so nobody needs a public key, and a check is the cheapest there is. A key
signs for `ROTATION_SECONDS`; then it is kept for as long as anything that it has signed is good.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from joserfc.jwk import OctKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ipfsreg.config.small_file import read_small_file
from ipfsreg.flow.background import Background
from ipfsreg.flow.durable import write_durably
from ipfsreg.flow.workers import Workers

from .errors import AccessFileError

ROTATION_SECONDS = 30 * 86400.0
_FILE_MAX = 64 * 1024
_SECRET_BYTES = 32


class _Key(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kid: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{8,32}$")]
    secret: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{43}$", repr=False)]
    created: float


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    keys: Annotated[list[_Key], Field(min_length=1, max_length=100)]


class SigningKeys:
    """The keys by their names (``kid``). The file is written by the daemon alone."""

    def __init__(self, path: Path, workers: Workers, now: Callable[[], float], keep: float) -> None:
        """``keep`` is for how many seconds a token is good at most. ``now`` is the time of day."""
        self._path = path
        self._workers = workers
        self._now = now
        self._keep = keep
        self._keys: list[_Key] = []
        self._imported: dict[str, OctKey] = {}
        self._rotation = Background("make a new key for tokens", self._rotate)

    def load(self) -> None:
        """Read the file, or make it; blocks.

        :raises AccessFileError: where it cannot be used.
        """
        try:
            content = read_small_file(self._path, _FILE_MAX)
        except FileNotFoundError:
            self._take(self._written([self._new()]))
        except OSError as error:
            raise AccessFileError(f"{self._path}: {error.strerror}") from None
        else:
            try:
                self._take(_File.model_validate_json(content).keys)
            except ValidationError:
                raise AccessFileError(
                    f"{self._path} is damaged; remove it, and everybody who has a token has to log in again"
                ) from None

    def current(self) -> tuple[str, OctKey]:
        """The key to sign with. Where it is old, a new one is made in the background, for the next time."""
        if self._keys[-1].created + ROTATION_SECONDS <= self._now():
            self._rotation.start()
        kid = self._keys[-1].kid
        return kid, self._imported[kid]

    def find(self, kid: object) -> OctKey | None:
        """The key of that name, if what it signed may still be good."""
        return self._imported.get(kid) if isinstance(kid, str) else None

    def stop(self) -> None:
        """Make no more keys."""
        self._rotation.stop()

    async def _rotate(self) -> None:
        now = self._now()
        # A key has signed until the next one came.
        kept = [
            key
            for key, successor in zip(self._keys, [*self._keys[1:], None], strict=True)
            if successor is None or successor.created + self._keep > now
        ]
        self._take(await self._workers.run(self._written, [*kept, self._new()]))

    def _new(self) -> _Key:
        secret = urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
        return _Key(kid=secrets.token_urlsafe(9), secret=secret, created=self._now())

    def _written(self, keys: list[_Key]) -> list[_Key]:
        try:
            write_durably(self._path, _File(keys=keys).model_dump_json(indent=1).encode())
        except OSError as error:
            raise AccessFileError(f"{self._path}: {error.strerror}") from None
        return keys

    def _take(self, keys: list[_Key]) -> None:
        self._keys = keys
        self._imported = {key.kid: OctKey.import_key(urlsafe_b64decode(key.secret + "=")) for key in keys}
