"""What may be had by CID."""

import pytest

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.registry.visibility import Visibility


def test_without_private_repositories_nobody_has_to_ask() -> None:
    visibility = Visibility()
    assert (visibility.everything, visibility.nothing) == (True, False)
    assert visibility.shows("any/thing")


def test_private_repositories_are_hidden() -> None:
    visibility = Visibility(["team/*", "secret"])
    assert (visibility.everything, visibility.nothing) == (False, False)
    names = ("team/app", "team/a/b", "team", "secret", "secrets")
    assert [visibility.shows(name) for name in names] == [False, False, True, False, True]
    assert [visibility.hides(name) for name in names] == [True, True, False, True, False]


def test_nothing_of_an_encrypted_bucket_is_shown() -> None:
    visibility = Visibility(encrypted=lambda: True)
    assert (visibility.everything, visibility.nothing) == (False, True)
    assert visibility.hides("box")


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_is_not_known_yet_is_not_guessed(encrypted: bool) -> None:
    known: list[bool | None] = [None]
    visibility = Visibility(encrypted=lambda: known[-1])
    for ask in (visibility.shows, visibility.hides):
        with pytest.raises(Unavailable, match="not known yet"):
            ask("box")
    known.append(encrypted)
    assert visibility.shows("box") is not encrypted
    # It may be either, so everybody asks each time, now as before.
    assert (visibility.everything, visibility.nothing) == (False, False)
