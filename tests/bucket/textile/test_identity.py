"""Key pairs, against the official client's golden vectors (docs/protocols/textile.md, "Identities and tokens")."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from ipfsreg.bucket import private_file
from ipfsreg.bucket.errors import SetupError
from ipfsreg.bucket.textile.server.encoding import decode_multibase, to_base32
from ipfsreg.bucket.textile.server.identity import Identity, check_public_key, load_identity, save_identity

CAPTURES = Path(__file__).parent / "double" / "captures"
seeds = st.binary(min_size=32, max_size=32)


@pytest.fixture(params=["textile-410", "textile-634"])
def capture(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CAPTURES / f"{request.param}-getToken.json").read_text())
    return found


def test_golden_keys(capture: dict[str, Any]) -> None:
    identity = Identity.from_seed(bytes.fromhex(capture["result"]["seedHex"]))
    assert identity.public_key == capture["result"]["pub"]
    assert identity.private_key() == capture["result"]["priv"]
    assert Identity.parse(capture["result"]["priv"]) == identity


def test_golden_signature(capture: dict[str, Any]) -> None:
    identity = Identity.parse(capture["result"]["priv"])
    signature = identity.sign(bytes.fromhex(capture["result"]["challengeHex"]))
    sent = capture["exchanges"][0]["clientFrames"][2]["hex"]
    # 0x00, the gRPC prefix, field 2 with 64 bytes.
    assert sent == "00" + "0000000042" + "1240" + signature.hex()


@given(seeds, st.binary(max_size=64))
def test_round_trip_and_signature(seed: bytes, challenge: bytes) -> None:
    identity = Identity.from_seed(seed)
    assert Identity.parse(identity.private_key()) == identity
    key = VerifyKey(decode_multibase(check_public_key(identity.public_key))[4:])
    key.verify(challenge, identity.sign(challenge))
    with pytest.raises(BadSignatureError):
        key.verify(challenge + b"x", identity.sign(challenge))


def test_generated_identities_differ() -> None:
    assert Identity.generate() != Identity.generate()


@given(seeds)
def test_nothing_shows_the_private_half(seed: bytes) -> None:
    identity = Identity.from_seed(seed)
    for text in (repr(identity), str(identity), f"{identity}", repr({"identity": identity})):
        assert identity.private_key() not in text
        assert seed.hex() not in text
        assert identity.public_key in text


GOOD = Identity.from_seed(b"\x01" * 32)
OTHER = Identity.from_seed(b"\x02" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        GOOD.public_key,
        GOOD.private_key()[:-2],
        GOOD.private_key() + "aa",
        to_base32(b"\x08\x00\x12\x40" + bytes(64)),  # an RSA key's type
        # The halves of two different keys.
        to_base32(decode_multibase(GOOD.private_key())[:36] + decode_multibase(OTHER.private_key())[36:]),
    ],
)
def test_what_is_no_private_key_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Identity.parse(text)
    assert len(text) < 6 or text not in str(caught.value)


def test_a_public_key_in_another_base_gets_its_usual_form() -> None:
    assert check_public_key("f" + decode_multibase(GOOD.public_key).hex()) == GOOD.public_key
    assert check_public_key(f" {GOOD.public_key}\n") == GOOD.public_key


@pytest.mark.parametrize("text", ["", "*", "bbaareia", "hello", GOOD.private_key(), GOOD.public_key + "aa"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a public key"):
        check_public_key(text)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_a_file_only_for_its_owner(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "identity"
    before = os.umask(umask)
    try:
        save_identity(GOOD, path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_identity(path) == GOOD
    assert [each.name for each in tmp_path.iterdir()] == ["identity"]


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    save_identity(GOOD, path)
    with pytest.raises(SetupError, match="never overwritten"):
        save_identity(OTHER, path)
    assert load_identity(path) == GOOD
    assert [each.name for each in tmp_path.iterdir()] == ["identity"]


def test_the_file_has_its_name_only_once_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "identity"
    seen: list[bool] = []

    def full(descriptor: int) -> None:
        seen.append(path.exists())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(private_file.os, "fsync", full)
    with pytest.raises(SetupError, match="No space left"):
        save_identity(GOOD, path)
    assert seen == [False]
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot write"):
        save_identity(GOOD, tmp_path / "missing" / "identity")
    with pytest.raises(SetupError, match="cannot read"):
        load_identity(tmp_path / "missing" / "identity")


@pytest.mark.parametrize("content", [b"", b"hello there", b"\xff\xfe\x00", GOOD.public_key.encode(), b"b" * 5000])
def test_a_file_that_holds_no_identity(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity"
    path.write_bytes(content)
    with pytest.raises(SetupError, match=r"holds no identity|cannot read .* longer than 4096 bytes") as caught:
        load_identity(path)
    assert str(path) in str(caught.value)
    assert not content.strip() or content.decode("latin-1") not in str(caught.value)
