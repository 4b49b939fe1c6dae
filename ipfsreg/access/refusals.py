"""Telling of what was refused: a line each in the log and in the audit log, but no flood of them."""

from collections.abc import Callable

from twisted.logger import Logger

from ipfsreg.flow.client_network import client_network
from ipfsreg.flow.rationed import Rationed

from .audit import AuditLog
from .identity import Action, User

LINES = 30
"""How many lines there are about one client in `WINDOW_SECONDS`; those above are counted."""

WINDOW_SECONDS = 60.0

CLIENTS = 1000
"""How many clients are told apart in that time; all others are one."""

_OTHERS = "other addresses"
_TEXT_MAX = 200


class Refusals:
    """Logins that failed and what users may not do, so that whoever is refused without end does not fill the disk.

    How many lines were left out is said in both logs, when the next refusal of anybody comes after the window's end or
    when the daemon stops. ``seconds`` is a clock that nobody can set.
    """

    _log = Logger()

    def __init__(self, audit: AuditLog | None, seconds: Callable[[], float]) -> None:
        self._audit = audit
        self._rationed = Rationed(
            seconds, self._left_out, times=LINES, seconds=WINDOW_SECONDS, kinds=CLIENTS, others=_OTHERS
        )

    def login(self, who: str, address: str, reason: str) -> None:
        """Somebody who says to be ``who`` was not let in."""
        if self._may_tell(address):
            self._log.info("A login from {address} failed: {reason}", address=address, reason=_plain(reason))
            self._record("login", who, address, reason=reason)

    def denied(self, action: Action, user: User, address: str, repository: str | None, reason: str) -> None:
        """A user may not do this."""
        if self._may_tell(address):
            self._log.info(
                "{user} from {address} may not {action}: {reason}",
                user=user.label,
                address=address,
                action=action.on(repository),
                reason=_plain(reason),
            )
            self._record(action.value, user, address, repository=repository, rule=reason)

    def stop(self) -> None:
        """Say what was left out."""
        self._rationed.stop()

    def _may_tell(self, address: str) -> bool:
        return self._rationed.may_pass(client_network(address) or address)

    def _left_out(self, client: str, count: int) -> None:
        self._log.info("{count} more refusals of {client} were not logged.", count=count, client=client)
        self._record("refusals not logged", "", client, lines=count)

    def _record(self, event: str, user: User | str, address: str, **what: str | int | None) -> None:
        if self._audit is not None:
            self._audit.record(event, user, address, allowed=False, **what)


def _plain(text: str) -> str:
    # Names in it may be a stranger's, with control characters, and long.
    return "".join(each if each.isprintable() else "?" for each in text[:_TEXT_MAX])
