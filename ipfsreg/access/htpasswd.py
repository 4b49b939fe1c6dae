"""A file of users and passwords as Docker's registry has it: what ``htpasswd -B`` writes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import bcrypt

PASSWORD_MAX = 1024
"""Bytes of a password that is looked at."""

USERS_MAX = 10_000

_BCRYPT = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
"""A salt has 128 bits, so its last letter is one of four; bcrypt fails on any other."""

BCRYPT_BYTES = 72
"""Of how many bytes of a password bcrypt takes notice, by Docker's registry and by htpasswd too."""

_COST_MAX = 14
"""Twice as slow with each: at 14 a check takes a second or two of a processor."""

_NAME = re.compile(r"[^\s,:*?=@\x00-\x1f\x7f][^\s,:*?=\x00-\x1f\x7f]{0,254}")
_RESERVED = ("users", "anonymous", "anyone")
ROBOT = "robot+"
"""What a robot's name begins with, and nobody else's."""

_OTHERS = {
    b"$apr1$": "MD5 (apr1)",
    b"$1$": "MD5",
    b"{SHA}": "SHA-1",
    b"{SSHA}": "salted SHA-1",
    b"$5$": "SHA-256 crypt",
    b"$6$": "SHA-512 crypt",
    b"$y$": "yescrypt",
    b"$argon2": "Argon2",
    b"$2x$": "bcrypt's broken form 2x",
}


@dataclass(frozen=True, slots=True)
class Account:
    """A user's hash. ``stamp`` is another one whenever the hash is, and says nothing about either."""

    hash: bytes
    stamp: str


class Htpasswd:
    """The users of a file."""

    def __init__(self, hashes: dict[str, bytes]) -> None:
        self._accounts = {
            name: Account(hash, sha256(b"htpasswd\0" + hash).hexdigest()[:32]) for name, hash in hashes.items()
        }
        cost = max((int(hash[4:6]) for hash in hashes.values()), default=10)
        self._nobody = Account(b"$2b$%02d$" % cost + b"." * 53, "")

    def __len__(self) -> int:
        return len(self._accounts)

    @property
    def names(self) -> Iterable[str]:
        """Its users."""
        return self._accounts

    def find(self, name: str) -> Account | None:
        """The account of a user."""
        return self._accounts.get(name)

    def check(self, name: str, password: str) -> Account | None:
        """The account, where the password is its own. Blocks for as long as bcrypt takes: tens of milliseconds.

        For a user that there is not, it takes as long as for one with the highest cost in the file.
        """
        account = self._accounts.get(name)
        given = password.encode("utf-8", "surrogatepass")
        right = bcrypt.checkpw(given[:BCRYPT_BYTES], (account or self._nobody).hash)
        # A NUL ends a password for the C programs that make such files.
        sound = 0 < len(given) <= PASSWORD_MAX and b"\0" not in given
        return account if right and sound else None


def parse_htpasswd(content: bytes) -> Htpasswd:
    """Read a file: ``NAME:HASH`` a line; empty ones and those that begin with ``#`` are passed over.

    :raises ValueError: with the number of the line, and never with what is in it behind the name.
    """
    found: dict[str, bytes] = {}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        raw_name, colon, hash = line.partition(b":")
        if not colon:
            raise ValueError(f"line {number}: not a name, a colon and a bcrypt hash")
        name = raw_name.decode("utf-8")
        try:
            check_name(name)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if name in found:
            raise ValueError(f"line {number}: {name!r} is there already")
        if len(found) >= USERS_MAX:
            raise ValueError(f"line {number}: more than {USERS_MAX} users")
        _check_hash(number, name, hash)
        found[name] = hash
    return Htpasswd(found)


def check_name(name: str) -> None:
    """See that a user may have that name.

    :raises ValueError: with one line.
    """
    if not _NAME.fullmatch(name) or name in _RESERVED or name.startswith(ROBOT):
        raise ValueError(f"{name[:80]!r} cannot be a user's name here; change it")


def _check_hash(number: int, name: str, hash: bytes) -> None:
    bcrypted = _BCRYPT.fullmatch(hash)
    if not bcrypted:
        other = next((what for mark, what in _OTHERS.items() if hash.startswith(mark)), "no bcrypt hash")
        raise ValueError(
            f"line {number}: the password of {name!r} is {other}, and only bcrypt is taken: htpasswd -B FILE {name}"
        )
    if not 4 <= int(bcrypted[1]) <= _COST_MAX:
        raise ValueError(f"line {number}: bcrypt's cost for {name!r} has to be from 4 to {_COST_MAX}")
