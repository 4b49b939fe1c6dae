"""Rules: what they say, in which order, and what is wrong with one in one line."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.access.identity import ANONYMOUS, Action, Grant, Kind, User
from ipfsreg.access.rules import RULES_MAX, parse_rules
from ipfsreg.config.patterns import Pattern

RULES = """
    # the team's
    group devs = alice, bob,github+repo:acme/app:ref:main
    deny  bob          push,delete  team/secret
    allow @devs        pull , push  team/**, shared
    allow @github+acme pull         ci/*
    allow alice        *            alice/**
    allow users        catalog
    deny  robot+bad    pull         public/*
    allow anyone       pull         public/*
    allow root         admin,catalog,*
    allow ops-*        delete
"""

alice = User("alice", Kind.PASSWORD)
bob = User("bob", Kind.PASSWORD)
root = User("root", Kind.PASSWORD)
ci = User("github+repo:acme/app:ref:main", Kind.TOKEN, frozenset({"github+acme"}))
stranger = User("stranger", Kind.PASSWORD)
robot = User("robot+ci", Kind.ROBOT, grants=(Grant(frozenset({Action.PULL}), Pattern("team/*")),))
bad = User("robot+bad", Kind.ROBOT, grants=(Grant(frozenset({Action.PULL}), Pattern("**")),))


@pytest.mark.parametrize(
    ("user", "action", "repository", "allowed", "why"),
    [
        (alice, Action.PULL, "team/a/b", True, "allow @devs        pull , push  team/**, shared"),
        (alice, Action.PUSH, "shared", True, "allow @devs"),
        (alice, Action.DELETE, "team/a", False, "no rule allows it"),
        (alice, Action.DELETE, "alice/x", True, "allow alice"),
        (alice, Action.ADMIN, None, False, "no rule"),
        (alice, Action.CATALOG, None, True, "allow users"),
        (bob, Action.PUSH, "team/secret", False, "deny  bob"),
        (bob, Action.PULL, "team/secret", True, "allow @devs"),
        (ci, Action.PUSH, "team/x", True, "allow @devs"),
        (ci, Action.PULL, "ci/x", True, "allow @github+acme"),
        (stranger, Action.PULL, "ci/x", False, "no rule"),
        (stranger, Action.PULL, "public/x", True, "allow anyone"),
        (ANONYMOUS, Action.PULL, "public/x", True, "allow anyone"),
        (ANONYMOUS, Action.PULL, "public/x/y", False, "no rule"),
        (ANONYMOUS, Action.CATALOG, None, False, "no rule"),
        (root, Action.ADMIN, None, True, "allow root"),
        (root, Action.DELETE, "any/thing", True, "allow root"),
        (User("ops-eve", Kind.CERTIFICATE), Action.DELETE, "x", True, "allow ops-"),
        (robot, Action.PULL, "team/a", True, "the robot was made for that"),
        (robot, Action.PULL, "team/a/b", False, "the robot was not made for that"),
        (robot, Action.PULL, "public/x", False, "the robot was not made for that"),
        (robot, Action.CATALOG, None, False, "the robot was not made for that"),
        (bad, Action.PULL, "public/x", False, "deny  robot+bad"),
        (bad, Action.PULL, "other", True, "the robot was made for that"),
    ],
)
def test_decisions(user: User, action: Action, repository: str | None, allowed: bool, why: str) -> None:
    verdict = parse_rules(RULES).decide(user, action, repository)
    assert (bool(verdict), verdict.reason[: len(why)]) == (allowed, why)
    assert (verdict.rule is not None) == why.startswith(("allow", "deny"))


def test_what_was_decided_for_one_is_not_for_another_of_that_name() -> None:
    rules = parse_rules("allow @x+acme pull team/*\nallow users pull open/*\ndeny ci push team/a")
    plain = User("ci", Kind.TOKEN)
    member = replace(plain, groups=frozenset({"x+acme"}))
    nobody = User("ci", Kind.ANONYMOUS)
    machine = User("ci", Kind.ROBOT, grants=(Grant(frozenset({Action.PULL, Action.PUSH}), Pattern("team/*")),))
    asked = [
        (plain, Action.PULL, "team/a", False),
        (member, Action.PULL, "team/a", True),
        (machine, Action.PULL, "team/a", True),
        (machine, Action.PUSH, "team/a", False),
        (machine, Action.PUSH, "team/b", True),
        (plain, Action.PUSH, "team/b", False),
        (plain, Action.PULL, "open/a", True),
        (machine, Action.PULL, "open/a", False),
        (nobody, Action.PULL, "open/a", False),
    ]
    for user, action, repository, allowed in asked * 2 + asked[::-1]:
        assert bool(rules.decide(user, action, repository)) is allowed
        assert rules.decider(user, action)(repository) == rules.decide(user, action, repository)


def test_a_token_is_good_for_what_it_is_for_and_for_no_more_than_the_rules_say_now() -> None:
    rules = parse_rules(RULES)
    pull_x = replace(alice, scope=(Grant(frozenset({Action.PULL, Action.DELETE}), "team/x"),))
    assert rules.decide(pull_x, Action.PULL, "team/x")
    assert rules.decide(pull_x, Action.PULL, "team/y").reason == "the token was not made for that"
    assert not rules.decide(pull_x, Action.DELETE, "team/x")  # no rule allows it
    assert not rules.decide(replace(alice, scope=()), Action.PULL, "team/x")
    # A name in a token is no pattern.
    assert not rules.decide(replace(alice, scope=(Grant(frozenset({Action.PULL}), "team/*"),)), Action.PULL, "team/x")


def test_no_rules_allow_nothing() -> None:
    for user in (ANONYMOUS, alice, replace(robot, grants=None)):
        for action in Action:
            assert not parse_rules("").decide(user, action, "x")


WRONG = {
    "permit alice pull": "a rule is allow or deny, who, actions and repositories",
    "allow alice": "a rule is allow or deny",
    "allow alice pull a b": "a rule is allow or deny",
    "allow alice fetch": "'fetch' is not one of pull, push, delete, catalog, admin and *",
    "allow alice pull,": "'' is not one of pull",
    "allow alice, pull a": "'a' is not one of pull",
    "allow ,alice pull": "a rule is allow or deny",
    "allow @devs pull": "there is no line `group devs = …`",
    "allow * pull": "write users for all who have logged in, or anyone for everybody",
    "allow alice pull Team/app": "'Team/app' is no pattern of repositories in small letters",
    "allow alice pull a,,b": "'' is no pattern",
    "allow alice pull " + "a" * 600: "a pattern has 1 to 512 characters",
    "group devs = alice\ngroup devs = bob": "there is a group devs already",
    "group devs = alice bob": "'alice bob' is no user",
    "group devs =": "'' is no user",
    "group devs = @others": "'@others' is no user",
    "allow a pull\n" * (RULES_MAX + 1): f"more than {RULES_MAX} rules and groups",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_what_is_wrong_is_said_in_one_line(text: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_rules(text)
    assert WRONG[text] in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert len(str(raised.value)) < 400


@given(st.text(st.sampled_from("allowdenygroupusers@,*=/ \n\t#?+x\u2028\x00é"), max_size=200))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    try:
        rules = parse_rules(text)
    except ValueError:
        return
    for user in (ANONYMOUS, alice):
        rules.decide(user, Action.PULL, "a")


names = st.sampled_from(["alice", "bob", "robot+ci"])
lines = st.builds(
    lambda verdict, who, actions, where: (verdict, who, actions, where),
    st.sampled_from(["allow", "deny"]),
    st.one_of(names, st.sampled_from(["users", "anyone", "anonymous"])),
    st.lists(st.sampled_from(list(Action)), min_size=1, max_size=3),
    st.sampled_from(["", "a/*", "**", "a/b", "b"]),
)


@given(
    st.lists(lines, max_size=8),
    st.sampled_from([ANONYMOUS, alice, bob, User("robot+ci", Kind.ROBOT)]),
    st.sampled_from(list(Action)),
    st.sampled_from(["a/b", "a/c", "b", "c/d/e"]),
)
def test_the_first_line_that_matches_decides(
    given_lines: list[tuple[str, str, list[Action], str]], user: User, action: Action, repository: str
) -> None:
    rules = parse_rules(
        "\n".join(f"{v} {who} {','.join(a.value for a in acts)} {w}" for v, who, acts, w in given_lines)
    )
    bound = action in (Action.PULL, Action.PUSH, Action.DELETE)
    expected = False
    for verdict, who, actions, where in given_lines:
        is_for = who in (user.name, "anyone", "anonymous" if user.is_anonymous else "users")
        about = not bound or not where or Pattern(where).matches(repository)
        if is_for and action in actions and about:
            expected = verdict == "allow"
            break
    assert rules.decide(user, action, repository if bound else None).allowed == expected


def test_a_long_line_of_blanks_is_read_in_no_time() -> None:
    """The work is in proportion to the line: a pattern that looks for blanks before a comma would take hours."""
    blanks = " " * 1_000_000
    user = User("alice", Kind.PASSWORD)
    rules = parse_rules(f"allow{blanks}alice ,{blanks} bob{blanks}pull")
    assert rules.decide(user, Action.PULL, "box")
    with pytest.raises(ValueError, match="rule"):
        parse_rules(f"allow{blanks}alice")
