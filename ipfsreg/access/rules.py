"""The rules of ``[access]``: who may do what to which repository.

One rule a line; the first one that matches decides, and where none does, the answer is no::

    group devs = alice, bob, robot+ci
    deny  bob          push,delete  team/secret
    allow @devs        pull,push    team/**
    allow users        catalog
    allow anyone       pull         public/*

WHO is a list of names (``*`` and ``**`` as in `Pattern`), ``@group``, ``users`` (all who have said who they are),
``anonymous``, and ``anyone`` (both). ACTIONS is a list of pull, push, delete, catalog and admin; ``*`` is pull, push
and delete. The repositories are a list of patterns; without any, all. ``catalog`` and ``admin`` concern no repository.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cachetools import LRUCache

from ipfsreg.config.patterns import Pattern

from .identity import REPOSITORY_ACTIONS, Action, User

RULES_MAX = 1000
"""Rules and groups that there may be: each decision may look at all of them."""

USERS_REMEMBERED = 500
"""Users of whom it is known which rules are about them."""

_ACTIONS = {action.value: frozenset({action}) for action in Action} | {"*": REPOSITORY_ACTIONS}
_WORDS = ("users", "anonymous", "anyone")
_GROUP = re.compile(r"group[ \t]+([A-Za-z0-9._-]{1,64})[ \t]*=[ \t]*(.*)")
_REPOSITORIES = re.compile(r"[a-z0-9._/*?-]+")
_WHO = re.compile(r"@?[^\s,@=][^\s,=]*")
_NAME = re.compile(r"[^\s,@=][^\s,=]*")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line. ``text`` is as it was written."""

    text: str
    allow: bool
    words: frozenset[str]
    groups: frozenset[str]
    names: tuple[Pattern, ...]
    actions: frozenset[Action]
    repositories: tuple[Pattern, ...]

    def is_about(self, repository: str | None, action: Action) -> bool:
        """Whether the repository is one of the rule's, if the action concerns one."""
        if not self.repositories or action not in REPOSITORY_ACTIONS:
            return True
        return repository is not None and any(pattern.matches(repository) for pattern in self.repositories)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it is allowed, and the ``rule`` that says so; None where no rule does, and ``reason`` says what does."""

    allowed: bool
    rule: Rule | None
    reason: str
    lacks_scope: bool = False
    """Whether it is the token that the user has come with which was not made for that."""

    def __bool__(self) -> bool:
        return self.allowed


class Rules:
    """Rules that were read; see `parse_rules`."""

    def __init__(self, rules: tuple[Rule, ...], groups: Mapping[str, frozenset[str]]) -> None:
        self._rules = rules
        self._groups = groups
        self._of_users: LRUCache[tuple[str, bool, frozenset[str]], tuple[Rule, ...]] = LRUCache(USERS_REMEMBERED)

    def __len__(self) -> int:
        return len(self._rules)

    def decide(self, user: User, action: Action, repository: str | None) -> Verdict:
        """Whether a user may do this; ``repository`` is None for `Action.CATALOG` and `Action.ADMIN`."""
        return self.decider(user, action)(repository)

    def decider(self, user: User, action: Action) -> Callable[[str | None], Verdict]:
        """`decide` for one user and action, when many repositories are asked about: who it is, is looked at once."""
        rules = self._rules_for(user, action)

        def verdict(repository: str | None) -> Verdict:
            outside = self._outside(user, action, repository)
            if outside is not None:
                return outside
            rule = next((rule for rule in rules if rule.is_about(repository, action)), None)
            if rule is None:
                return _NO_RULE if user.grants is None else _FOR_THE_ROBOT
            return Verdict(rule.allow, rule, rule.text)

        return verdict

    @staticmethod
    def _outside(user: User, action: Action, repository: str | None) -> Verdict | None:
        for limit, what in ((user.scope, "token"), (user.grants, "robot")):
            if limit is not None and not any(grant.covers(action, repository) for grant in limit):
                return Verdict(False, None, f"the {what} was not made for that", lacks_scope=limit is user.scope)
        return None

    def _rules_for(self, user: User, action: Action) -> list[Rule]:
        key = user.name, user.is_anonymous, user.groups
        found = self._of_users.get(key)
        if found is None:
            found = self._of_users[key] = tuple(rule for rule in self._rules if self._is_for(rule, *key))
        return [rule for rule in found if action in rule.actions]

    def _is_for(self, rule: Rule, name: str, is_anonymous: bool, groups: frozenset[str]) -> bool:
        if "anyone" in rule.words or ("anonymous" if is_anonymous else "users") in rule.words:
            return True
        if is_anonymous:
            return False
        if any(group in groups or name in self._groups.get(group, ()) for group in rule.groups):
            return True
        return any(pattern.matches(name) for pattern in rule.names)


_NO_RULE = Verdict(False, None, "no rule allows it")
_FOR_THE_ROBOT = Verdict(True, None, "the robot was made for that, and no rule denies it")


def parse_rules(text: str) -> Rules:
    """Read rules, as the head of this module says. Lines that are empty or begin with ``#`` are passed over.

    :raises ValueError: with one line that quotes what is wrong.
    """
    rules: list[Rule] = []
    groups: dict[str, frozenset[str]] = {}
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if len(rules) + len(groups) >= RULES_MAX:
            raise ValueError(f"more than {RULES_MAX} rules and groups")
        try:
            if group := _GROUP.fullmatch(line):
                if group[1] in groups:
                    raise ValueError(f"there is a group {group[1]} already")
                groups[group[1]] = frozenset(_listed(group[2], _NAME, "user"))
            else:
                rules.append(_parse_rule(line))
        except ValueError as error:
            raise ValueError(f"{line[:120]!r}: {error}") from None
    for rule in rules:
        # Those of an issuer have its name before a +, and are not known beforehand.
        unknown = sorted(name for name in rule.groups if "+" not in name and name not in groups)
        if unknown:
            raise ValueError(f"{rule.text[:120]!r}: there is no line `group {unknown[0]} = …`")
    return Rules(tuple(rules), groups)


def _parse_rule(line: str) -> Rule:
    words = ",".join(part.strip(" \t") for part in line.split(",")).split()
    if words[0] not in ("allow", "deny") or not 3 <= len(words) <= 4:
        raise ValueError(
            "a rule is allow or deny, who, actions and repositories, such as: allow @devs,alice pull,push team/**"
        )
    who = _listed(words[1], _WHO, "user or @group")
    names = [name for name in who if name not in _WORDS and not name.startswith("@")]
    if any(not name.strip("*") for name in names):
        raise ValueError("write users for all who have logged in, or anyone for everybody")
    return Rule(
        text=line,
        allow=words[0] == "allow",
        words=frozenset(who) & frozenset(_WORDS),
        groups=frozenset(name[1:] for name in who if name.startswith("@")),
        names=tuple(map(Pattern, names)),
        actions=parse_actions(words[2]),
        repositories=parse_repositories(words[3]) if len(words) == 4 else (),
    )


def parse_actions(text: str) -> frozenset[Action]:
    """Read a list of actions; ``*`` is pull, push and delete.

    :raises ValueError: where one is none.
    """
    found: frozenset[Action] = frozenset()
    for word in text.split(","):
        if word.strip() not in _ACTIONS:
            raise ValueError(f"{word.strip()[:40]!r} is not one of pull, push, delete, catalog, admin and *")
        found |= _ACTIONS[word.strip()]
    return found


def parse_repositories(text: str) -> tuple[Pattern, ...]:
    """Read a list of patterns of repositories' names.

    :raises ValueError: where one can match no repository.
    """
    return tuple(Pattern(each) for each in _listed(text, _REPOSITORIES, "pattern of repositories in small letters"))


def _listed(text: str, grammar: re.Pattern[str], what: str) -> list[str]:
    found = [each.strip() for each in text.split(",")]
    for each in found:
        if not grammar.fullmatch(each):
            raise ValueError(f"{each[:80]!r} is no {what}")
    return found
