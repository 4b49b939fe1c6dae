"""Users, and what can be done to a repository."""

from dataclasses import dataclass, field
from enum import Enum

from ipfsreg.config.patterns import Pattern


class Action(Enum):
    """What can be done. A rule, a robot and a token name these words."""

    __hash__ = object.__hash__  # there is one of each; Enum's own, in Python, is called several times a request

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    CATALOG = "catalog"
    """To list the repositories. What is listed are those that the asker may pull."""
    ADMIN = "admin"
    """What concerns the registry and no repository: metrics, and the daemon's own pages."""

    def on(self, repository: str | None) -> str:
        """In a sentence, after "may" or "may not": ``pull team/app``, ``list the repositories``."""
        if self is Action.CATALOG:
            return "list the repositories"
        if self is Action.ADMIN:
            return "see or do what is for administrators"
        return f"{self.value} {repository}"


REPOSITORY_ACTIONS = frozenset({Action.PULL, Action.PUSH, Action.DELETE})
"""The actions on one repository; `Action.CATALOG` and `Action.ADMIN` are for the whole registry."""


class Kind(Enum):
    """How it is known who a user is."""

    ANONYMOUS = "anonymous"
    PASSWORD = "password"
    ROBOT = "robot"
    TOKEN = "token"
    """By a JWT of another issuer."""
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Grant:
    """These actions, on the repositories of this pattern. None is every repository."""

    actions: frozenset[Action]
    repositories: Pattern | str | None = None
    """A string is one repository's name, in which ``*`` means nothing."""

    def covers(self, action: Action, repository: str | None) -> bool:
        """Whether it includes this; ``repository`` is None for `Action.CATALOG` and `Action.ADMIN`."""
        if action not in self.actions:
            return False
        if action not in REPOSITORY_ACTIONS or self.repositories is None:
            return True
        if isinstance(self.repositories, str):
            return self.repositories == repository
        return repository is not None and self.repositories.matches(repository)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who asks. Made by `Authority.identify`.

    A robot's name is ``robot+NAME``, that of a user of another issuer ``ISSUER+NAME``, and so are the names of that
    issuer's groups: no two ways of saying who one is lead to the same name.
    """

    name: str
    kind: Kind
    groups: frozenset[str] = frozenset()
    """What an issuer says; the groups that the rules define are the rules' matter."""
    grants: tuple[Grant, ...] | None = None
    """What a robot was made for, and all that it may do; None is what the rules say."""
    scope: tuple[Grant, ...] | None = None
    """What the token was issued for that the user has come with, and all that it is good for; None is no token."""
    expires: float | None = None
    """Until when this is known, in seconds since 1970. None is until the account is changed."""
    stamp: str = field(default="", repr=False)
    """Changes with the password or secret of the account, if it has one: tokens are bound to it."""

    @property
    def is_anonymous(self) -> bool:
        """Whether it has not been said who asks: answer 401 and not 403 where this one may not."""
        return self.kind is Kind.ANONYMOUS

    @property
    def label(self) -> str:
        """The name for logs."""
        return "anonymous" if self.is_anonymous else self.name


ANONYMOUS = User("", Kind.ANONYMOUS)
"""The user of a request without credentials."""
