"""Access control as the rest of the daemon sees it: who is it, may they, and tokens for those who are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .audit import AuditLog
from .certificates import CertificateUsers, ClientCertificate
from .compact import looks_like_token
from .errors import BadCredentials, TooManyAttempts
from .identity import ANONYMOUS, Action, Kind, User
from .issuers import Issuers
from .logins import Logins
from .refusals import Refusals
from .rules import Rules, Verdict
from .scopes import Granted, Scope
from .sessions import Sessions
from .tokens import Issued, Tokens
from .watched import WatchedFile


@dataclass(frozen=True, slots=True, repr=False)
class Basic:
    """A name and a password, decoded from UTF-8. The password may be a robot's secret or a token of others."""

    name: str
    password: str


@dataclass(frozen=True, slots=True, repr=False)
class Bearer:
    """A token, ours or another issuer's."""

    token: str


Credentials = Basic | Bearer | ClientCertificate | None
"""What a request came with; None is nothing. Where it came with several, those of the header count."""


@dataclass(frozen=True, slots=True)
class IdentityProviders:
    """Who vouches for users, beside the tokens that we have issued ourselves."""

    logins: Logins
    issuers: Issuers | None = None
    certificates: CertificateUsers | None = None


class Authority:
    """The one face of access control. It knows neither HTTP nor storage; errors are those of `access.errors`."""

    def __init__(
        self,
        rules: WatchedFile[Rules],
        providers: IdentityProviders,
        tokens: Tokens,
        sessions: Sessions,
        audit: AuditLog | None = None,
    ) -> None:
        self._rules = rules
        self._logins = providers.logins
        self._issuers = providers.issuers
        self._certificates = providers.certificates
        self._tokens = tokens
        self.sessions = sessions
        """Of browsers: see `renew`."""
        self._audit = audit
        self._refusals = Refusals(audit, rules.clock.seconds)
        issuers = None if providers.issuers is None else providers.issuers.file
        self._files = [
            file for file in (rules, providers.logins.htpasswd, providers.logins.robots, issuers) if file is not None
        ]
        self._clock = rules.clock
        self._due = 0.0
        self.epoch = 0
        """Changes whenever the files were looked at: what was said before may not be so any more."""

    @property
    def service(self) -> str:
        """The name of the registry in tokens and challenges."""
        return self._tokens.service

    @property
    def is_due(self) -> bool:
        """Whether `identify` would look at the files now, as it does once a second."""
        return bool(self._clock.seconds() >= self._due)

    def load(self) -> None:
        """Read all files for the first time, and make the keys for tokens where there are none; blocks: for a thread.

        :raises AccessFileError: with one line, where one cannot be used.
        """
        for file in self._files:
            file.load()
        self._tokens.load()
        self.sessions.load()
        if self._audit is not None:
            self._audit.load()

    async def stop(self) -> None:
        """Write what is left of the audit log. The threads have to be there until then."""
        self._tokens.stop()
        self._refusals.stop()
        if self._audit is not None:
            await self._audit.stop()

    async def identify(self, credentials: Credentials, address: str) -> User:
        """Who has come with these credentials, from an IP address (or whatever tells clients apart).

        It waits only for passwords that have not been checked lately, for an issuer's keys, and once a second for a
        look at the files. Call it for each request, unless nothing `is_due` and the `epoch` is the same as when it was
        called for these: it is what keeps the files fresh for `allows`. Logins are in the audit log,
        those with a password when it was not seen from there lately; whoever hands out a token records that.

        :raises BadCredentials: answer 401.
        :raises TooManyAttempts: answer 429 with its ``retry_after``.
        :raises Unavailable: answer 503.
        """
        await self._refresh()
        if credentials is None:
            return ANONYMOUS
        try:
            if isinstance(credentials, Basic):
                user, is_new = await self._logins.check(credentials.name, credentials.password, address)
                if is_new:
                    self.record("login", user, address)
                return user
            if isinstance(credentials, Bearer):
                return await self._bearer(credentials.token)
            return self._of_certificate(credentials)
        except (BadCredentials, TooManyAttempts) as error:
            who = credentials.name if isinstance(credentials, Basic) else type(credentials).__name__.lower()
            self._refusals.login(who, address, str(error))
            raise

    async def redeem(self, offline_token: str, address: str) -> User:
        """Whose an offline token is, for `issue_token`.

        :raises BadCredentials: where it is not good, or the account is gone or has another password now.
        """
        await self._refresh()
        try:
            holder = self._tokens.verify(offline_token, "offline")
            return replace(self._account(holder), expires=holder.expires)
        except BadCredentials as error:
            self._refusals.login("offline token", address, str(error))
            raise

    async def renew(self, user: User) -> User:
        """Who somebody is now that `identify` knew before, with the rights of now, as for a session of a browser.

        :raises BadCredentials: where the account is gone or has another password, or what it came with has expired.
        """
        await self._refresh()
        self._tokens.check_time(user)
        return self._account(user)

    def allows(self, user: User, action: Action, repository: str | None = None) -> Verdict:
        """Whether a user may do this. ``repository`` is None for `Action.CATALOG` and `Action.ADMIN` only.

        Where it is denied, answer 401 with a challenge if ``user.is_anonymous``, else 403.
        """
        return self._rules.value.decide(user, action, repository)

    def decider(self, user: User, action: Action) -> Callable[[str | None], Verdict]:
        """`allows` for many repositories, such as all of the catalog."""
        return self._rules.value.decider(user, action)

    def issue_token(self, user: User, scopes: Sequence[Scope], *, offline: bool = False) -> Issued:
        """A token for what is asked for and allowed, which may be nothing: clients find out when they use it.

        With ``offline`` there is an offline token too, if the user has an account here and has not come with a token:
        what is good for minutes must not become good for months. One from `redeem` gets none that is good for longer.

        :raises BadScope: where the token would be too long; answer 400.
        """
        granted = [
            Granted(scope, frozenset(action for action in scope.wanted if self.allows(user, action, scope.repository)))
            for scope in scopes
        ]
        return self._tokens.issue(user, granted, offline=offline and bool(user.stamp) and user.scope is None)

    def record(self, event: str, user: User | str, address: str, **what: str | int | None) -> None:
        """Add a line to the audit log, where there is one: logins, pushes, deletes. See `AuditLog.record`."""
        if self._audit is not None:
            self._audit.record(event, user, address, allowed=True, **what)

    def record_denial(self, action: Action, user: User, address: str, repository: str | None, reason: str) -> None:
        """Note in the log, and in the audit log, what a user was denied; see `Refusals`."""
        self._refusals.denied(action, user, address, repository, reason)

    async def reload(self) -> str:
        """Look at all files now; answers what that is, in a few words. What cannot be used is logged by its file."""
        for file in self._files:
            await file.reload()
        self._looked()
        return f"{len(self._files)} files of access control were looked at"

    async def _refresh(self) -> None:
        if not self.is_due:
            return
        for file in self._files:
            await file.latest()
        self._looked()

    def _looked(self) -> None:
        self._due = min(file.due for file in self._files)
        self.epoch += 1

    async def _bearer(self, token: str) -> User:
        if not looks_like_token(token):
            raise BadCredentials("not a token")
        holder = self._tokens.verify_own(token)
        if holder is not None:
            account = self._account(holder)
            # All that there is to know of a user with a password is in the token.
            return (
                holder
                if account.kind is Kind.PASSWORD
                else replace(account, scope=holder.scope, expires=holder.expires)
            )
        if self._issuers is None:
            raise BadCredentials("a token with an unknown key")
        return await self._issuers.identify(token)

    def _account(self, holder: User) -> User:
        if holder.kind not in (Kind.PASSWORD, Kind.ROBOT):
            return holder
        account = self._logins.account(holder.name)
        if account is None or account.stamp != holder.stamp:
            raise BadCredentials(f"a token of {holder.name}, whose account is gone or was changed")
        return account

    def _of_certificate(self, certificate: ClientCertificate) -> User:
        if self._certificates is None:
            raise BadCredentials("certificates are nobody's here")
        user = self._certificates.user(certificate)
        self._tokens.check_time(user)  # TLS has looked at its dates when the connection began
        return user
