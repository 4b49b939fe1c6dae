"""What a client asks a token for: the scopes of Docker's token authentication.

The grammar is that of distribution's "Token Scope Documentation": ``TYPE[(CLASS)]:NAME:ACTION[,ACTION…]``, several
separated by spaces.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import BadScope
from .identity import Action

SCOPES_MAX = 64
"""How many scopes a token may have; a client that mounts blobs asks for a few at once."""

SCOPE_MAX = 512
"""Characters of one scope: a repository's name has at most 255."""

_TYPE = re.compile(r"([a-z]{1,32})(\([a-z0-9]{1,32}\))?")
_NAME = re.compile(r"[A-Za-z0-9._:/\[\]-]{1,400}")
_ACTIONS = re.compile(r"[a-z*][a-z,*]{0,99}|")

_REPOSITORY: dict[str, frozenset[Action]] = {
    "pull": frozenset({Action.PULL}),
    "push": frozenset({Action.PUSH}),
    "delete": frozenset({Action.DELETE}),
    "*": frozenset({Action.PULL, Action.PUSH, Action.DELETE}),
}
_REGISTRY = {"catalog": Action.CATALOG, "admin": Action.ADMIN}


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource and what is asked for. What this registry does not know is kept, and nobody is granted it."""

    type: str
    name: str
    actions: tuple[str, ...]

    @property
    def wanted(self) -> frozenset[Action]:
        """The actions that it means here, which may be none."""
        if self.type == "repository":
            return frozenset().union(*(_REPOSITORY.get(action, ()) for action in self.actions))
        if self.type == "registry" and self.name in _REGISTRY and "*" in self.actions:
            return frozenset({_REGISTRY[self.name]})
        return frozenset()

    @property
    def repository(self) -> str | None:
        """The repository that it is about, if it is about one."""
        return self.name if self.type == "repository" else None


def parse_scopes(values: Iterable[str]) -> tuple[Scope, ...]:
    """Read the values of all ``scope`` parameters of one request; what is about one resource is one scope.

    :raises BadScope: where one does not follow the grammar, or there are too many.
    """
    found: dict[tuple[str, str], dict[str, None]] = {}
    count = 0
    for value in values:
        if len(value) > SCOPES_MAX * SCOPE_MAX:
            raise BadScope("the scopes are too long")
        for text in value.split():
            count += 1
            if count > SCOPES_MAX:
                raise BadScope(f"more than {SCOPES_MAX} scopes")
            kind, name, actions = _parse(text)
            found.setdefault((kind, name), {}).update(dict.fromkeys(actions))
    return tuple(Scope(kind, name, tuple(actions)) for (kind, name), actions in found.items())


def _parse(text: str) -> tuple[str, str, list[str]]:
    # A name may have the colon of a host's port: the type ends at the first one, and the actions begin at the last.
    if len(text) <= SCOPE_MAX and text.count(":") >= 2:
        kind, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        of_type = _TYPE.fullmatch(kind)
        if of_type and _NAME.fullmatch(name) and _ACTIONS.fullmatch(actions):
            return of_type[1], name, [action for action in actions.split(",") if action]
    raise BadScope(f"{text[:80]!r} is no scope such as repository:team/app:pull,push")


def scope_for(action: Action, repository: str | None) -> str:
    """The scope that a challenge asks for. One that pushes reads too, as Docker's registry has it."""
    if action in (Action.CATALOG, Action.ADMIN):
        return f"registry:{action.value}:*"
    actions = {Action.PUSH: "pull,push"}.get(action, action.value)
    return f"repository:{repository}:{actions}"


@dataclass(frozen=True, slots=True)
class Granted:
    """What was granted of a scope, which may be nothing."""

    scope: Scope
    actions: frozenset[Action]

    def as_claim(self) -> dict[str, object]:
        """The entry of a token's ``access`` claim."""
        words = ["*"] if self.scope.repository is None else sorted(action.value for action in self.actions)
        return {"type": self.scope.type, "name": self.scope.name, "actions": words}
