"""How a member's key is written down: the file's text, a passphrase, and the recovery key that is typed back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.encryption.key_text import (
    PassphraseNeeded,
    needs_passphrase,
    parse_key_text,
    parse_recovery_text,
    public_key_in,
    to_key_text,
    to_recovery_text,
)
from ipfsreg.encryption.member_key import MemberKey, parse_public_key, seal_to

CHEAP = {"operations": 1, "memory": 8192}
KEY = MemberKey(bytes(range(32)))
PLAIN = to_key_text(KEY)
LOCKED = to_key_text(KEY, "correct horse", **CHEAP)

seeds = st.binary(min_size=32, max_size=32)


@given(seeds)
def test_what_is_written_is_read(seed: bytes) -> None:
    key = MemberKey(seed)
    assert parse_key_text(to_key_text(key)).seed() == seed
    assert parse_recovery_text(to_recovery_text(key)).seed() == seed
    assert parse_public_key(key.public.hex()) == key.public
    assert key.unseal(seal_to(key.public, b"text")) == b"text"


def test_a_passphrase() -> None:
    assert public_key_in(LOCKED) == KEY.public
    assert needs_passphrase(LOCKED)
    assert not needs_passphrase(PLAIN)
    assert parse_key_text(LOCKED, "correct horse").seed() == KEY.seed()
    with pytest.raises(ValueError, match="wrong"):
        parse_key_text(LOCKED, "battery staple")
    with pytest.raises(PassphraseNeeded):
        parse_key_text(LOCKED)
    assert KEY.seed().hex() not in LOCKED
    assert KEY.seed().hex() not in repr(KEY)


@pytest.mark.parametrize("mistyped", [("0", "O"), ("1", "I"), ("8", "B")])
def test_the_recovery_key_forgives_what_looks_alike(mistyped: tuple[str, str]) -> None:
    text = to_recovery_text(KEY)
    assert len(text.split("\n")) == 2
    assert {len(group) for group in text.split()} == {4}
    typed = text.lower().replace(mistyped[1].lower(), mistyped[0]).replace(" ", "-").replace("\n", "  ")
    assert parse_recovery_text(typed).seed() == KEY.seed()


@given(st.integers(0, 55), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_mistyped_letter_is_found(at: int, letter: str) -> None:
    digits = to_recovery_text(KEY).replace(" ", "").replace("\n", "")
    typed = digits[:at] + letter + digits[at + 1 :]
    if typed == digits:
        return
    with pytest.raises(ValueError, match="mistyped"):
        parse_recovery_text(typed)


@given(st.text(max_size=200))
def test_what_is_no_recovery_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="recovery key"):
        parse_recovery_text(text)


@given(st.one_of(st.text(max_size=100), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_what_is_no_key_is_refused(text: str) -> None:
    for read in (parse_key_text, public_key_in, needs_passphrase):
        with pytest.raises(ValueError, match=r"^it is"):
            read(text)


_VALUES = st.one_of(st.none(), st.integers(-(2**70), 2**70), st.text(max_size=20), st.lists(st.none()), st.just("AA=="))


@given(st.sampled_from([PLAIN, LOCKED]), st.data())
def test_a_damaged_file_is_refused_and_costs_nothing(text: str, data: st.DataObject) -> None:
    found = json.loads(text)
    inside = found.get("passphrase", found)
    name = data.draw(st.sampled_from(sorted({*inside, "public"})))
    changed = inside if name in inside else found
    value = data.draw(_VALUES)
    if value == changed[name] or (name in {"operations", "memory"} and isinstance(value, int)):
        return
    changed[name] = value
    with pytest.raises(ValueError, match=r"^it"):
        parse_key_text(json.dumps(found), "correct horse")


@pytest.mark.parametrize(
    ("name", "value"), [("operations", 10**6), ("memory", 2**45), ("memory", 1), ("operations", 0)]
)
def test_what_would_take_for_ever_is_refused(name: str, value: int) -> None:
    found = json.loads(LOCKED)
    found["passphrase"][name] = value
    with pytest.raises(ValueError, match="not whole"):
        parse_key_text(json.dumps(found), "correct horse")


def test_halves_that_do_not_belong_together() -> None:
    other = json.loads(to_key_text(MemberKey(bytes(32))))
    with pytest.raises(ValueError, match="halves"):
        parse_key_text(json.dumps(json.loads(PLAIN) | {"seed": other["seed"]}))


@pytest.mark.parametrize("text", ["", "00", "g" * 64, "0" * 64, "02" + 62 * "0", 65 * "1"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64"):
        parse_public_key(text)
