"""What each route asks before its handler runs: who is it, and may they. `auth` has the answers."""

from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from ipfsreg.access.identity import Action

from .http.request import Request

TOKEN_PATH = "/auth/token"
"""Where tokens are had."""


class Entry(Enum):
    """Who may use a route that is about no repository."""

    __hash__ = object.__hash__  # there is one of each; Enum's own is slower

    EVERYBODY = auto()
    """Nobody looks at credentials."""
    ANYBODY = auto()
    """Anybody, but credentials that are not good are refused; the handler shows what the asker may see."""
    KNOWN = auto()
    """Everybody with credentials, be it a token that was made for nobody in particular."""


Needs = Action | Entry
"""What a route asks for."""

Filter = Callable[[str], bool]
"""Whether the asker may pull from a repository."""


class Gate(Protocol):
    """Asked by routes, and by handlers that show only a part."""

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything, so that what is answered is for everybody."""

    def knows(self, request: Request, needs: Needs, repository: str | None) -> bool:
        """Whether it is known already that the asker may do this; else `admit` says."""

    async def admit(self, request: Request, needs: Needs, repository: str | None) -> None:
        """Return where the asker may do this.

        :raises HttpError: 401 with a challenge, 403, 429 or 503.
        """

    def pulls(self, request: Request) -> Filter:
        """From which repositories the asker of a request that was let in may pull."""

    def lists(self, request: Request) -> Filter:
        """Which repositories the asker of a request that was let in may see in a list.

        They are those of `pulls`, but with a token that was issued for the list and for no repository too.
        """

    def name_of(self, request: Request) -> str:
        """The name of the user who asks, or "" where nobody has said who it is."""


class OpenGate:
    """The `Gate` without access control: everybody may do everything."""

    is_open = True

    def knows(self, request: Request, needs: Needs, repository: str | None) -> bool:
        return True

    async def admit(self, request: Request, needs: Needs, repository: str | None) -> None:
        """See `Gate`."""

    def pulls(self, request: Request) -> Filter:
        return _any_repository

    lists = pulls

    def name_of(self, request: Request) -> str:
        return ""


def _any_repository(repository: str) -> bool:
    return True
