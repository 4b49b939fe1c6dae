"""Logins that fail: who guesses has to wait longer and longer, and nobody else does.

A login is counted as failed before it is looked at, so that many at once do not slip through, and taken back when it
was right. This keeps them at bay:

* An address that fails waits, whatever accounts it tries. The IPv6 network of one client (/64) is one address.
* An account on which many addresses fail is closed to addresses that have never logged in to it. Each address counts
  little, so no single one can close an account to others.
* Who is logged in at an address goes on without being counted, so that others who fail there do no harm; but one who
  guesses there would learn from it. After `HAMMERED` refusals for this account at this address it ends.
* Where an account has logged in well from an address before, only its own failures there count: a guesser behind the
  same proxy, or on the other side of the world, does not lock it out.

All tables are bounded. Who is pushed out of one begins anew.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from cachetools import TTLCache

from .errors import TooManyAttempts

FREE = 5
"""Failures that cost nothing: people mistype."""

LONGEST_SECONDS = 300.0
FORGOTTEN_SECONDS = 900.0
"""How long after the last failure they are forgotten."""

ACCOUNT_FREE = 50
HAMMERED = 100
"""Refusals for an account at one address, after which those who are logged in there are refused as well."""

_OF_ONE_ADDRESS = 5
"""How many failures of one address count for an account."""

_TABLE = 10_000
_INNER = 16
"""How many accounts are told apart at an address, and addresses on an account; those above are counted as one."""

_GOOD_SECONDS = 7 * 86400.0


@dataclass(slots=True)
class _Failures:
    counts: dict[str, int] = field(default_factory=dict)
    last: float = 0.0

    def add(self, key: str, number: int) -> None:
        if key not in self.counts and len(self.counts) >= _INNER:
            key = _REST
        self.counts[key] = max(0, self.counts.get(key, 0) + number)

    def forget(self, key: str) -> None:
        if key in self.counts:
            del self.counts[key]
        else:
            self.add(key, -1)


_REST = ""


class LoginThrottle:
    """The counts. Times are those of ``clock``, which nobody can set. An ``address`` is one of `client_network`."""

    def __init__(self, clock: Any) -> None:
        self._seconds = clock.seconds
        self._addresses: TTLCache[str, _Failures] = TTLCache(_TABLE, FORGOTTEN_SECONDS, timer=self._seconds)
        self._accounts: TTLCache[str, _Failures] = TTLCache(_TABLE, FORGOTTEN_SECONDS, timer=self._seconds)
        self._refused: TTLCache[tuple[str, str], int] = TTLCache(_TABLE, FORGOTTEN_SECONDS, timer=self._seconds)
        self._good: TTLCache[tuple[str, str], None] = TTLCache(_TABLE, _GOOD_SECONDS, timer=self._seconds)

    def begin(self, address: str, account: str) -> None:
        """Count an attempt as failed. `succeeded` or `withdrawn` is called where it was not.

        :raises TooManyAttempts: where it may not be made yet; this one is not counted.
        """
        account = _key(account)
        at_address = self._addresses.get(address) or _Failures()
        on_account = self._accounts.get(account) or _Failures()
        try:
            if (address, account) in self._good:
                self._check(at_address, at_address.counts.get(account, 0), FREE)
            else:
                self._check(at_address, sum(at_address.counts.values()), FREE)
                all_of_account = sum(min(count, _OF_ONE_ADDRESS) for count in on_account.counts.values())
                self._check(on_account, all_of_account, ACCOUNT_FREE)
        except TooManyAttempts:
            self._refused[address, account] = self._refused.get((address, account), 0) + 1
            raise
        for table, failures, key, other in (
            (self._addresses, at_address, address, account),
            (self._accounts, on_account, account, address),
        ):
            failures.add(other, 1)
            failures.last = self._seconds()
            table[key] = failures  # counts from now

    def succeeded(self, address: str, account: str) -> None:
        """The attempt was right: the failures of this account at this address are forgotten."""
        account = _key(account)
        self._good[address, account] = None
        if address in self._addresses:
            self._addresses[address].forget(account)
        if account in self._accounts:
            self._accounts[account].forget(address)

    def withdrawn(self, address: str, account: str) -> None:
        """Nobody looked at the attempt."""
        account = _key(account)
        if address in self._addresses:
            self._addresses[address].add(account, -1)
        if account in self._accounts:
            self._accounts[account].add(address, -1)

    def check_hammered(self, address: str, account: str) -> None:
        """For one whose login is remembered.

        :raises TooManyAttempts: where somebody at the same address guesses without end.
        """
        if self._refused.get((address, _key(account)), 0) >= HAMMERED:
            raise TooManyAttempts(LONGEST_SECONDS)

    def _check(self, failures: _Failures, count: int, free: int) -> None:
        if count < free:
            return
        wait = failures.last + min(LONGEST_SECONDS, 2.0 ** min(count - free, 30)) - self._seconds()
        if wait > 0:
            raise TooManyAttempts(wait)


def _key(account: str) -> str:
    # A name may be long, and is a stranger's.
    return hashlib.blake2b(account.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
