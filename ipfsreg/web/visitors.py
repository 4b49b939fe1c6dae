"""Who looks at pages: the gate for these, and signing in and out. `auth.sessions` has the one with access control."""

from typing import Protocol

from ipfsreg.access.identity import Action

from .gate import Gate, OpenGate
from .http.request import Request


class Visitors(Gate, Protocol):
    """The gate for pages."""

    @property
    def can_sign_in(self) -> bool:
        """Whether there is anything to sign in to."""

    def may(self, request: Request, action: Action, repository: str | None = None) -> bool:
        """Whether the visitor, whom the gate has admitted, may do this as well."""

    def name(self, request: Request) -> str | None:
        """Who the visitor is that the gate has admitted; None where that was not said."""

    async def sign_in(self, request: Request, name: str, password: str) -> bool:
        """Begin a session, where name and password are right, and say so in the answer's cookie.

        :raises HttpError: 429 or 503 where they were not looked at.
        """

    async def sign_out(self, request: Request) -> None:
        """End the session of the request."""

    def session(self, request: Request) -> str:
        """The secret that the request's session has and no other; empty where there is none."""


class OpenVisitors(OpenGate):
    """Without access control nobody signs in. See `Visitors`."""

    can_sign_in = False

    def may(self, request: Request, action: Action, repository: str | None = None) -> bool:
        return True

    def name(self, request: Request) -> str | None:
        return None

    async def sign_in(self, request: Request, name: str, password: str) -> bool:
        return False

    async def sign_out(self, request: Request) -> None:
        """See `Visitors`."""

    def session(self, request: Request) -> str:
        return ""
