"""An htpasswd file as ``ipfsreg user`` changes it. Lines of others, comments too, stay as they are. Blocks."""

from collections.abc import Callable
from pathlib import Path

import bcrypt

from .errors import AccessFileError
from .htpasswd import BCRYPT_BYTES, check_name, parse_htpasswd
from .watched import changing, load_file

_NOBODY = b""
_MODE = 0o640  # for a daemon that is in the group of its directory


class HtpasswdFile:
    """The file at a path; one that is not there has no users."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """All users by name.

        :raises AccessFileError: where the file cannot be used.
        """
        return sorted(load_file(self._path, parse_htpasswd, _NOBODY).names)

    def check_new(self, name: str) -> None:
        """See that a user could be added.

        :raises AccessFileError: where there is one of that name, or it cannot be a name.
        """
        try:
            check_name(name)
        except ValueError as error:
            raise AccessFileError(str(error)) from None
        if name in self.names():
            raise AccessFileError(
                f"{name} is in {self._path} already; ipfsreg user password {name} changes the password"
            )

    def check_known(self, name: str) -> None:
        """See that there is a user.

        :raises AccessFileError: where there is none of that name.
        """
        if name not in self.names():
            raise AccessFileError(f"there is no user {name} in {self._path}")

    def add(self, name: str, password: str) -> None:
        """Add a user.

        :raises AccessFileError: see `check_new`; where the password cannot be one, or the disk does not let us.
        """
        line = _line(name, password)
        self._change(lambda: self.check_new(name), lambda lines: [*lines, line])

    def set_password(self, name: str, password: str) -> None:
        """Give a user another password. What somebody logged in with before is worth nothing any more.

        :raises AccessFileError: see `check_known`; where the password cannot be one, or the disk does not let us.
        """
        line = _line(name, password)
        self._change(
            lambda: self.check_known(name), lambda lines: [line if _name(each) == name else each for each in lines]
        )

    def remove(self, name: str) -> None:
        """Take a user away.

        :raises AccessFileError: see `check_known`; where the disk does not let us.
        """
        self._change(lambda: self.check_known(name), lambda lines: [each for each in lines if _name(each) != name])

    def _change(self, check: Callable[[], None], changed: Callable[[list[bytes]], list[bytes]]) -> None:
        with changing(self._path, _MODE) as replace:
            check()
            content = load_file(self._path, bytes, _NOBODY)
            new = b"".join(line + b"\n" for line in changed(content.splitlines()))
            try:
                parse_htpasswd(new)
            except ValueError as error:
                raise AccessFileError(f"{self._path}: {error}") from None
            replace(new)


def _name(line: bytes) -> str:
    return line.removeprefix(b"\xef\xbb\xbf").strip().partition(b":")[0].decode("utf-8", "surrogateescape")


def _line(name: str, password: str) -> bytes:
    secret = password.encode("utf-8", "surrogateescape")
    if not secret or b"\0" in secret:
        raise AccessFileError("a password is not empty, and has no NUL in it")
    if len(secret) > BCRYPT_BYTES:
        raise AccessFileError(f"a password is at most {BCRYPT_BYTES} bytes long: bcrypt looks at no more")
    return name.encode() + b":" + bcrypt.hashpw(secret, bcrypt.gensalt())
