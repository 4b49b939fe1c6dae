"""Scopes as clients write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.access.errors import BadScope
from ipfsreg.access.identity import REPOSITORY_ACTIONS, Action
from ipfsreg.access.scopes import SCOPES_MAX, Scope, parse_scopes, scope_for


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        (["", "  "], []),
        (["repository:team/app:pull,push"], [("repository", "team/app", {Action.PULL, Action.PUSH})]),
        (
            ["repository:a:pull repository:b:pull"],
            [("repository", "a", {Action.PULL}), ("repository", "b", {Action.PULL})],
        ),
        (["repository:a:pull", "repository:a:push"], [("repository", "a", {Action.PULL, Action.PUSH})]),
        (["repository:a:*"], [("repository", "a", REPOSITORY_ACTIONS)]),
        (["repository:a:"], [("repository", "a", set())]),
        (["repository(plugin):a/b:pull"], [("repository", "a/b", {Action.PULL})]),
        (["repository:host.example:5000/a/b:pull"], [("repository", "host.example:5000/a/b", {Action.PULL})]),
        (["registry:catalog:*"], [("registry", "catalog", {Action.CATALOG})]),
        (["registry:admin:*"], [("registry", "admin", {Action.ADMIN})]),
        (["registry:catalog:pull"], [("registry", "catalog", set())]),
        (["registry:other:*"], [("registry", "other", set())]),
        (["space:a:pull"], [("space", "a", set())]),
        (["repository:a:admin,catalog,mount"], [("repository", "a", set())]),
    ],
)
def test_what_clients_ask(values: list[str], expected: list[tuple[str, str, set[Action]]]) -> None:
    found = parse_scopes(values)
    assert [(scope.type, scope.name, set(scope.wanted)) for scope in found] == expected


@pytest.mark.parametrize(
    "text",
    [
        "repository",
        "repository:a",
        "repository::pull",
        ":a:pull",
        "Repository:a:pull",
        "repository(:a:pull",
        "repository:a*:pull",
        "repository:a:PULL",
        "repository:a:pull;push",
        "repository:é:pull",
        "repository:" + "a" * 600 + ":pull",
        "repository:a:" + "pull," * 60,
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(BadScope) as raised:
        parse_scopes([text])
    assert len(str(raised.value)) < 200


def test_how_many() -> None:
    assert len(parse_scopes([f"repository:a{n}:pull" for n in range(SCOPES_MAX)])) == SCOPES_MAX
    for many in ([f"repository:a{n}:pull" for n in range(SCOPES_MAX + 1)], ["repository:a:pull " * 65], [" " * 10**6]):
        with pytest.raises(BadScope):
            parse_scopes(many)


@given(
    st.lists(st.text(st.sampled_from("repository:registry()catalogpull,push*./ -_\n\x00é"), max_size=80), max_size=5)
)
def test_whatever_comes_is_read_or_refused(values: list[str]) -> None:
    try:
        found = parse_scopes(values)
    except BadScope:
        return
    again = parse_scopes([f"{scope.type}:{scope.name}:{','.join(scope.actions)}" for scope in found])
    assert again == found


def test_what_a_challenge_asks_for_is_what_is_needed() -> None:
    for action in Action:
        repository = "team/app" if action in REPOSITORY_ACTIONS else None
        (scope,) = parse_scopes([scope_for(action, repository)])
        assert isinstance(scope, Scope)
        assert action in scope.wanted
        assert scope.repository == repository
