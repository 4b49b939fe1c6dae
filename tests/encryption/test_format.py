"""The format of encrypted buckets: what was written is read, by the product and a second decoder, and nothing else."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipfsreg.encryption.chunks import (
    CHUNK,
    HEADER_SIZE,
    OVERHEAD,
    SEAL_SIZE,
    STORED_CHUNK,
    Damaged,
    Place,
    chunk_count,
    plain_size,
    stored_size,
)
from ipfsreg.encryption.file_format import Header, decode_file, encode_file, generation_of, make_seal
from ipfsreg.encryption.keyring import Keyring, UnknownGeneration
from ipfsreg.encryption.member_key import MemberKey
from ipfsreg.encryption.names import SEGMENT_MAX, Names, NameTooLong, NotAName
from tests.bucket.encrypted.keys import keyring, secret

from . import decoder

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text())
DOCUMENT = Path(__file__).parents[2] / "docs" / "encryption.md"
KEYS = keyring()
NAMES = Names(KEYS.name_key)

segments = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda text: text not in {".", ".."} and len(text.encode()) <= SEGMENT_MAX
)
directories = st.lists(segments, max_size=3).map("/".join)
sizes = st.one_of(
    st.integers(0, 2000), st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1])
)


def second(keys: Keyring, path: str, file: bytes) -> bytes:
    """What the second decoder reads."""
    writers = {MemberKey(secret(each)).public for each in ("anna", "bert")}
    return decoder.content(keys.bucket_id, keys.name_key, dict(keys.content_keys), writers, path, file)


def encode_at_end(keys: Keyring, path: str, content: bytes) -> bytes:
    """A file with its seal at its end."""
    assert keys.member is not None
    header = Header.new(at_end=True)
    writer = header.writer(keys.member)
    count = chunk_count(len(content))
    chunks = [
        part
        for index in range(count)
        for part in writer.parts(Place(index, index == count - 1), content[index * CHUNK : (index + 1) * CHUNK])
    ]
    seal = make_seal(keys, path, header, writer.key, writer.public, len(content))
    return b"".join([header.encode(), *chunks, seal])


ENCODERS: list[Callable[[Keyring, str, bytes], bytes]] = [encode_file, encode_at_end]


class TestNames:
    @given(directories, segments)
    @example("", "a" * SEGMENT_MAX)
    @example("", "a" * (SEGMENT_MAX - 15))
    @example("blobs/sha256/ab", "ab" * 32)
    def test_a_token_says_its_name_to_both(self, parent: str, segment: str) -> None:
        token = NAMES.token(parent, segment)
        assert token == NAMES.token(parent, segment)
        assert NAMES.segment(parent, token) == segment == decoder.name(KEYS.name_key, parent, token)
        assert len(token) <= 255
        assert set(token) <= set("abcdefghijklmnopqrstuvwxyz234567")
        with pytest.raises(NotAName):
            NAMES.segment(f"{parent}/x", token)
        with pytest.raises(NotAName):
            Names(secret("other")).segment(parent, token)

    @given(st.data())
    def test_a_changed_token_says_nothing(self, data: st.DataObject) -> None:
        token = NAMES.token("d", "name")
        at = data.draw(st.integers(0, len(token) - 1))
        letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567ABC=/0é"))
        for changed in (token[:at] + letter + token[at + 1 :], token[:at] + letter + token[at:], token[:at]):
            if changed != token:
                with pytest.raises(NotAName):
                    NAMES.segment("d", changed)

    @pytest.mark.parametrize("segment", [".", "..", "a/b", "../b", "a\0b"])
    def test_a_member_cannot_make_others_follow_what_is_no_name(self, segment: str) -> None:
        with pytest.raises(NotAName):
            NAMES.segment("d", NAMES.token("d", segment))

    @given(st.text())
    def test_whatever_a_storage_calls_a_file(self, token: str) -> None:
        with pytest.raises(NotAName):
            NAMES.segment("", token)

    def test_what_is_too_long(self) -> None:
        with pytest.raises(NameTooLong, match="144"):
            NAMES.token("", "a" * (SEGMENT_MAX + 1))
        with pytest.raises(NameTooLong):
            NAMES.path("/".join("a" * 100))
        assert len(NAMES.path("/".join("a" * 60))) <= 3500

    def test_each_segment_depends_on_those_before_it(self) -> None:
        one, two = NAMES.path("a/b/c"), NAMES.path("x/b/c")
        assert not set(one.split("/")) & set(two.split("/"))


class TestFiles:
    @given(encode=st.sampled_from(ENCODERS), size=sizes, path=directories.filter(bool))
    @example(encode=encode_file, size=0, path="a")
    @example(encode=encode_at_end, size=2 * CHUNK, path="a")
    def test_what_was_written_is_read_by_both(
        self, encode: Callable[[Keyring, str, bytes], bytes], size: int, path: str
    ) -> None:
        content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
        file = encode(KEYS, path, content)
        assert len(file) == stored_size(size)
        assert decode_file(KEYS, path, file) == content == second(KEYS, path, file)

    @given(st.integers(0, 5 * CHUNK))
    def test_lengths(self, size: int) -> None:
        assert plain_size(stored_size(size)) == size

    @given(st.integers(-10, 3 * STORED_CHUNK))
    def test_lengths_that_no_file_has(self, stored: int) -> None:
        try:
            size = plain_size(stored)
        except Damaged:
            assert all(stored_size(near) != stored for near in range(max(0, stored - 700), max(0, stored - 300)))
        else:
            assert stored_size(size) == stored

    @given(encode=st.sampled_from(ENCODERS), at=st.integers(0, stored_size(300) - 1), bit=st.integers(0, 7))
    def test_each_bit_counts(self, encode: Callable[[Keyring, str, bytes], bytes], at: int, bit: int) -> None:
        file = bytearray(encode(KEYS, "d/f", b"x" * 300))
        file[at] ^= 1 << bit
        with pytest.raises((Damaged, UnknownGeneration)):
            decode_file(KEYS, "d/f", bytes(file))

    @pytest.mark.parametrize("encode", ENCODERS)
    def test_what_a_storage_can_do_to_chunks(self, encode: Callable[[Keyring, str, bytes], bytes]) -> None:
        content = bytes(range(256)) * (3 * CHUNK // 256) + b"end"
        file = encode(KEYS, "d/f", content)
        other = encode(KEYS, "d/g", content)
        begin = HEADER_SIZE + (SEAL_SIZE if encode is encode_file else 0)
        seal = slice(HEADER_SIZE, HEADER_SIZE + SEAL_SIZE) if encode is encode_file else slice(-SEAL_SIZE, None)
        chunk = [slice(begin + number * STORED_CHUNK, begin + (number + 1) * STORED_CHUNK) for number in range(4)]

        def with_(place: slice, new: bytes) -> bytes:
            changed = bytearray(file)
            changed[place] = new
            return bytes(changed)

        swapped = bytearray(file)
        swapped[chunk[0]], swapped[chunk[1]] = file[chunk[1]], file[chunk[0]]
        changes = {
            "two chunks change places": bytes(swapped),
            "a chunk is there twice": with_(chunk[1], file[chunk[0]]),
            "a chunk of another file": with_(chunk[1], other[chunk[1]]),
            "the seal of another file": with_(seal, other[seal]),
            "the header of another file": with_(slice(0, HEADER_SIZE), other[:HEADER_SIZE]),
            "all of another path's file": other,
            "a chunk is missing": with_(chunk[1], b""),
            "one more chunk": with_(chunk[1], file[chunk[1]] * 2),
            "the last chunk is missing": file[: chunk[3].start] + (file[seal] if encode is encode_at_end else b""),
            "a byte is missing": file[:-1],
            "a byte more": file + b"\0",
            "nothing": b"",
            "the header alone": file[:HEADER_SIZE],
        }
        accepted = []
        for what, changed in changes.items():
            with suppress(Damaged, UnknownGeneration):
                decode_file(KEYS, "d/f", changed)
                accepted.append(what)
        assert accepted == []

    def test_whose_file_it_is(self) -> None:
        file = encode_file(KEYS, "d/f", b"content")
        with pytest.raises(Damaged, match="might not write"):
            decode_file(keyring("bert", writers=("bert",)), "d/f", file)
        with pytest.raises(Damaged):
            decode_file(replace(KEYS, bucket_id=secret("other bucket")), "d/f", file)
        with pytest.raises(Damaged):
            decode_file(replace(KEYS, content_keys={1: secret("other")}), "d/f", file)
        with pytest.raises(UnknownGeneration):
            decode_file(replace(KEYS, content_keys={}), "d/f", file)
        assert decode_file(keyring("bert"), "d/f", file) == b"content"
        forger = keyring("mallory")
        with pytest.raises(Damaged, match="might not write"):
            decode_file(KEYS, "d/f", encode_file(forger, "d/f", b"content"))

    def test_who_can_read_cannot_alter(self) -> None:
        """A reader knows K and F's public key from the seal, and still makes no chunk that others accept."""
        assert KEYS.member is not None
        header = Header.new(at_end=False)
        writer = header.writer(KEYS.member)
        seal = make_seal(KEYS, "d/f", header, writer.key, writer.public, 5)
        forged = type(writer)(header.file_id, writer.key, secret("the reader's own"))
        chunk = b"".join(forged.parts(Place(0, True), b"wrong"))
        with pytest.raises(Damaged):
            decode_file(KEYS, "d/f", header.encode() + seal + chunk)
        chunk = b"".join(writer.parts(Place(0, True), b"right"))
        assert decode_file(KEYS, "d/f", header.encode() + seal + chunk) == b"right"

    def test_a_generation_of_its_own(self) -> None:
        old = encode_file(KEYS, "d/f", b"old")
        rotated = keyring(generation=2)
        new = encode_file(rotated, "d/f", b"new")
        assert generation_of(new[HEADER_SIZE : HEADER_SIZE + SEAL_SIZE]) == 2
        assert decode_file(rotated, "d/f", old) == b"old"
        assert decode_file(rotated, "d/f", new) == b"new" == second(rotated, "d/f", new)
        with pytest.raises(UnknownGeneration):
            decode_file(KEYS, "d/f", new)
        relabelled = bytearray(new)
        relabelled[HEADER_SIZE : HEADER_SIZE + 4] = old[HEADER_SIZE : HEADER_SIZE + 4]
        with pytest.raises(Damaged):
            decode_file(rotated, "d/f", bytes(relabelled))


class TestVectors:
    """What version 1 is for ever."""

    def keys(self) -> Keyring:
        given_ = {name: bytes.fromhex(value) for name, value in VECTORS["keys"].items()}
        member = MemberKey(given_["member"])
        assert member.public == given_["member_public"]
        content_keys = {1: given_["content_key_1"]}

        def writes(author: bytes, _: int) -> bool:
            return author == member.public

        return Keyring(given_["bucket_id"], given_["name_key"], 1, member, content_keys, writes)

    @pytest.mark.parametrize("vector", VECTORS["names"])
    def test_names(self, vector: dict[str, str]) -> None:
        keys = self.keys()
        assert Names(keys.name_key).token(vector["parent"], vector["segment"]) == vector["token"]
        assert decoder.name(keys.name_key, vector["parent"], vector["token"]) == vector["segment"]

    @pytest.mark.parametrize("vector", VECTORS["files"], ids=lambda vector: vector["path"])
    def test_files(self, vector: dict[str, str]) -> None:
        keys = self.keys()
        file, wanted = bytes.fromhex(vector["file"]), bytes.fromhex(vector["content"])
        assert decode_file(keys, vector["path"], file) == wanted
        assert keys.member is not None
        found = decoder.content(
            keys.bucket_id, keys.name_key, dict(keys.content_keys), {keys.member.public}, vector["path"], file
        )
        assert found == wanted
        writer = Header.decode(file).writer(keys.member)
        assert (writer.key.hex(), writer.public.hex()) == (vector["K"], vector["F"])

    def test_the_document_has_them(self) -> None:
        document = DOCUMENT.read_text()
        for vector in VECTORS["names"][:2]:
            assert vector["token"] in document
        for value in VECTORS["keys"].values():
            assert value in document
        file = VECTORS["files"][0]["file"]
        assert file in "".join(document.split())


def test_a_chunk_costs_what_the_document_says() -> None:
    assert (OVERHEAD, HEADER_SIZE + SEAL_SIZE) == (104, 276)
