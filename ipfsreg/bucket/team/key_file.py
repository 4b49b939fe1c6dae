"""The file that holds a member's key, which nobody else may read."""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from ipfsreg.bucket.errors import SetupError
from ipfsreg.bucket.private_file import PrivateFile
from ipfsreg.config.small_file import SECRET_MAX, read_small_file
from ipfsreg.encryption.key_text import (
    MEMORY,
    OPERATIONS,
    PassphraseNeeded,
    needs_passphrase,
    parse_key_text,
    public_key_in,
    to_key_text,
)
from ipfsreg.encryption.member_key import MemberKey

PASSPHRASE_VARIABLE = "IPFSREG_PASSPHRASE"
"""The variable of the environment that may have the passphrase of a member's key."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A member's key on this disk. Its methods block: they are for threads, or for a command."""

    path: Path

    def load(self, passphrase: str = "") -> MemberKey:
        """The key. With a passphrase that takes about a second.

        :raises SetupError: where it cannot be read, is not for its user alone, or the passphrase is wrong or missing.
        """
        try:
            return parse_key_text(self._text(), passphrase)
        except PassphraseNeeded:
            raise SetupError(
                f"{self.path} is under a passphrase: give it in the environment as {PASSPHRASE_VARIABLE}, or in a file "
                "that [encryption] passphrase_file names"
            ) from None
        except ValueError as error:
            raise self._unusable(error) from None

    def public(self) -> bytes:
        """The public key alone, without a passphrase. `SetupError` as for `load`."""
        try:
            return public_key_in(self._text())
        except ValueError as error:
            raise self._unusable(error) from None

    def needs_passphrase(self) -> bool:
        """Whether it is under a passphrase. `SetupError` as for `load`."""
        try:
            return needs_passphrase(self._text())
        except ValueError as error:
            raise self._unusable(error) from None

    def save(self, key: MemberKey, passphrase: str = "", operations: int = OPERATIONS, memory: int = MEMORY) -> None:
        """Write a key to a new file that only its owner can read; one that is there is never overwritten.

        :raises SetupError: where that cannot be.
        """
        file = PrivateFile(self.path)
        try:
            text = to_key_text(key, passphrase, operations, memory)
        except BaseException:
            file.discard()
            raise
        file.keep(text)

    def _text(self) -> str:
        try:
            content = self._content()
        except FileNotFoundError:
            raise SetupError(
                f"there is no member's key in {self.path}: make one with `ipfsreg keys init {self.path}`, and have an "
                "owner add its public key with `ipfsreg team add`"
            ) from None
        except OSError as error:
            why = "it is a link, and has to be a file" if error.errno == errno.ELOOP else error.strerror
            raise SetupError(f"cannot read the member's key {self.path}: {why}") from None
        try:
            return content.decode("ascii")
        except UnicodeDecodeError:
            raise self._unusable("it is no member's key") from None

    def _content(self) -> bytes:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        with open(os.open(self.path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise SetupError(f"the member's key {self.path} has to be a file, and is none")
            if status.st_uid not in {os.geteuid(), 0}:
                raise SetupError(f"the member's key {self.path} belongs to another user, and has to be this user's own")
            if status.st_mode & 0o077:
                raise SetupError(
                    f"others may read or change the member's key {self.path}: chmod 600 it. If somebody did, have an "
                    "owner add a new key and remove this one"
                )
            content = file.read(SECRET_MAX + 1)
        if len(content) > SECRET_MAX:
            raise self._unusable("it is no member's key")
        return content

    def _unusable(self, why: object) -> SetupError:
        return SetupError(f"{self.path} cannot be used as a member's key: {why}")


class OwnKey:
    """The key of a file, loaded once. ``passphrase`` is asked for only where the key is under one."""

    def __init__(self, file: KeyFile, passphrase: Callable[[], str]) -> None:
        self._file = file
        self._passphrase = passphrase
        self._key: MemberKey | None = None
        self._lock = Lock()

    def load(self) -> MemberKey:
        """For any thread: `KeyFile.load`."""
        with self._lock:
            if self._key is None:
                self._key = self._file.load(self._passphrase() if self._file.needs_passphrase() else "")
            return self._key


def read_passphrase(file: Path) -> str:
    """A passphrase from a file: its first line.

    :raises SetupError: where it cannot be read, or is empty.
    """
    try:
        text = read_small_file(file, SECRET_MAX).decode("utf-8")
    except OSError as error:
        raise SetupError(f"cannot read the passphrase file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SetupError(f"the passphrase file {file} is not UTF-8") from None
    first = text.split("\n", 1)[0].rstrip("\r")
    if not first:
        raise SetupError(f"the passphrase file {file} has no passphrase in its first line")
    return first
