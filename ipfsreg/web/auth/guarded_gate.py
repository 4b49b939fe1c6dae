"""The gate where there is access control: who asks is told what they may, in the words of clients."""

import time
from dataclasses import replace
from math import ceil

from ipfsreg.access.authority import Authority
from ipfsreg.access.errors import BadCredentials, TooManyAttempts, Unavailable
from ipfsreg.access.identity import ANONYMOUS, Action, User
from ipfsreg.access.scopes import scope_for
from ipfsreg.web.errors import HttpError
from ipfsreg.web.gate import Entry, Filter, Needs
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request

from .challenge import Challenge
from .credentials import credentials_of
from .recent import Recent


class GuardedGate:
    """Asks an authority. See `Gate`."""

    is_open = False

    def __init__(self, authority: Authority, challenge: Challenge, clients: TrustedProxies) -> None:
        self._authority = authority
        self._challenge = challenge
        self._clients = clients
        self._recent = Recent(authority, time.time)

    def knows(self, request: Request, needs: Needs, repository: str | None) -> bool:
        if needs is Entry.EVERYBODY:
            return True
        user = self._recent.admits(request, needs, repository)
        if user is None:
            return False
        request.identify(user)
        return True

    async def admit(self, request: Request, needs: Needs, repository: str | None) -> None:
        action = needs if isinstance(needs, Action) else None
        epoch = self._authority.epoch
        user = await self.identify(request, action, repository)
        if needs is Entry.KNOWN and user is ANONYMOUS:
            raise self._challenge.error(request, None)
        if action is not None:
            self._check(request, user, action, repository)
        if epoch == self._authority.epoch:  # while it was waited for, nothing has changed that it may depend on
            self._recent.remember(request, user, needs, repository)

    def pulls(self, request: Request) -> Filter:
        return self._pulls_of(user_of(request))

    def lists(self, request: Request) -> Filter:
        return self._pulls_of(replace(user_of(request), scope=None))

    def name_of(self, request: Request) -> str:
        return user_of(request).name

    def _pulls_of(self, user: User) -> Filter:
        decide = self._authority.decider(user, Action.PULL)
        return lambda repository: bool(decide(repository))

    async def identify(self, request: Request, action: Action | None, repository: str | None) -> User:
        """Who asks; ``action`` and ``repository`` are for the challenge.

        :raises HttpError: 401, 429 or 503.
        """
        address = self._clients.address_of(request)
        try:
            user = await self._authority.identify(credentials_of(request), address)
        except BadCredentials:
            scope = None if action is None else scope_for(action, repository)
            raise self._challenge.error(request, scope, problem="invalid_token") from None
        except (TooManyAttempts, Unavailable) as error:
            raise not_looked_at(error) from None
        request.identify(user)
        return user

    def _check(self, request: Request, user: User, action: Action, repository: str | None) -> None:
        verdict = self._authority.allows(user, action, repository)
        if verdict:
            return
        without_token = replace(user, scope=None)
        if user.is_anonymous or (verdict.lacks_scope and self._authority.allows(without_token, action, repository)):
            # A client that has not said who it is does so now, and one with a token for less gets another one.
            problem = None if user.scope is None else "insufficient_scope"
            raise self._challenge.error(request, scope_for(action, repository), problem=problem)
        address = self._clients.address_of(request)
        self._authority.record_denial(action, user, address, repository, verdict.reason)
        raise HttpError(403, "DENIED", f"{user.label} may not {action.on(repository)}")


def not_looked_at(error: TooManyAttempts | Unavailable) -> HttpError:
    """The answer where credentials were not looked at."""
    if isinstance(error, TooManyAttempts):
        headers = {"Retry-After": ceil(error.retry_after)}
        return HttpError(429, "TOOMANYREQUESTS", "too many attempts to log in", headers=headers)
    return HttpError(503, "UNAVAILABLE", "credentials cannot be checked now", headers={"Retry-After": 10})


def user_of(request: Request) -> User:
    """The user of a request that was let in."""
    return request.user if isinstance(request.user, User) else ANONYMOUS
