"""Documents made to cost as much as possible: refused with little work, little memory, and off the reactor."""

import gc
import json
import threading
import tracemalloc
from collections.abc import Callable
from traceback import clear_frames
from typing import Any
from weakref import ref

import hypothesis.strategies as st
import pytest
import pytest_twisted
from hypothesis import example, given
from twisted.internet.defer import Deferred, gatherResults

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.registry import layout
from ipfsreg.registry import manifest as module
from ipfsreg.registry.content.dags import decode_dag
from ipfsreg.registry.content.storage import Parser
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import ManifestInvalid
from ipfsreg.registry.ipfs.image_tree import read_document, read_root
from ipfsreg.registry.manifest import OCI_IMAGE, OCI_INDEX, parse_manifest
from ipfsreg.registry.names import Repository
from tests.full import FULL, some

from .place import Place
from .test_manifest import IMAGE, encoded, json_values

MiB = 1024 * 1024
APP = Repository("app")
LONGEST_MULTIPLE = 12
"""How many times its length the reading of a document may need in memory at most."""


def in_index(length: int, item: str, head: str = '{"schemaVersion":2,"manifests":[', end: str = "1]}") -> bytes:
    """An index of about so many bytes that is made of one thing."""
    return (head + item * (length // len(item)) + end).encode()


DESCRIPTOR = f'"mediaType":"a/b","digest":"sha256:{"0" * 64}","size":1'
IN_DESCRIPTOR = f'{{"schemaVersion":2,"manifests":[{{{DESCRIPTOR},'


def costly(length: int) -> dict[str, bytes]:
    """Documents of about so many bytes, by what is costly in them."""
    return {
        "objects": in_index(length, "{},"),
        "lists": in_index(length, "[],"),
        "objects with a field": in_index(length, '{"a":1},'),
        "numbers": in_index(length, "1,"),
        "fractions": in_index(length, "1.5,"),
        "long numbers": in_index(length, "9" * 4000 + ","),
        "numbers that are too long": in_index(length, "9" * 5000 + ","),
        "strings": in_index(length, '"aa",'),
        "strings of two bytes a letter": in_index(length, '"Ā",'),
        "empty strings": in_index(length, '"",'),
        "quotes": in_index(length, '"\\"",'),
        "backslashes": in_index(length, '"\\\\",'),
        "brackets in strings": in_index(length, '"[[[[",'),
        "urls": in_index(length, "1,", IN_DESCRIPTOR + '"urls":[', "1]}]}"),
        "annotations": in_index(length, '"a":1,', IN_DESCRIPTOR + '"annotations":{', '"a":1}}]}'),
        "annotations of the index": in_index(
            length, '"a":1,', '{"schemaVersion":2,"manifests":[],"annotations":{', '"a":1}}'
        ),
        "wrong descriptors": in_index(length, "{" + DESCRIPTOR + ',"urls":1},'),
        "what is not known": in_index(length, "[],", '{"x":['),
        "surrogates": in_index(length, '"\\ud800\\udc00",', '{"x":['),
        "half surrogates": in_index(length, '"\\udc00",', '{"x":['),
        "depth": in_index(length, "[", '{"x":'),
        "depth of objects": in_index(length, '{"a":', '{"x":'),
        "white space": in_index(length, " ", "", "x"),
        "a string without an end": b'"NaN' + b"a" * length,
        "a string without an end, of backslashes": b'"NaN' + b"\\" * length,
    }


COSTLY = costly(MiB)


FOR_EACH = {"objects", "annotations", "wrong descriptors", "what is not known", "depth", "a string without an end"}
"""What is tried with each way to read a document, in a short run: the rest is the same code for all of them."""
ONCE = some(8, list(COSTLY))
"""What is tried beside that with one of them."""

REFUSED = [
    pytest.param(read, content, id=f"{name}-{what}")
    for name, read in {
        "push": lambda content: parse_manifest(content, OCI_INDEX),
        "part": read_document,
        "root": read_root,
    }.items()
    for what, content in COSTLY.items()
    if FULL or what in FOR_EACH or (name == "push" and what in ONCE)
]


@pytest.mark.parametrize(("read", "content"), REFUSED)
def test_what_is_refused_is_refused_with_little(read: Callable[[bytes], object], content: bytes) -> None:
    """At the first thing that is wrong, and nobody collects all of them."""
    tracemalloc.start()
    try:
        with pytest.raises(ManifestInvalid) as error:
            read(content)
        assert tracemalloc.get_traced_memory()[1] < LONGEST_MULTIPLE * len(content)
    finally:
        tracemalloc.stop()
    assert len(error.value.message) < 500


@pytest.mark.parametrize("letters", [20, 30, 40, 64, 1000, 100_000])
def test_an_unterminated_string_is_refused_at_once(letters: int) -> None:
    """A regular expression once took twice as long for each further letter."""
    for name in ("NaN", "Infinity", '\\"NaN', "\\\\NaN"):
        with pytest.raises(ManifestInvalid):
            parse_manifest(f'"{name}{"a" * letters}'.encode(), OCI_IMAGE)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_all_else_is_read(document: dict[str, Any]) -> None:
    assert read_json(json.dumps(document, ensure_ascii=False).encode()) == document
    assert read_json(json.dumps(document).encode()) == document


@pytest.mark.parametrize("text", ["[],{}", '\\",[', '"', "\\", '","', "{[,"])
def test_text_may_look_like_many_values(text: str) -> None:
    annotations = {"a": text * 400_000, "b": text * 3, text: text}
    assert parse_manifest(encoded({**IMAGE, "annotations": annotations}), OCI_IMAGE).annotations == annotations


def test_short_documents_may_have_any_number_of_values() -> None:
    content = b'{"x":[' + b"[]," * ((64 * 1024 - 20) // 3) + b"[]]}"
    assert len(read_json(content)["x"]) > 21_000


ESCAPES = st.lists(
    st.sampled_from(["a", "\\\\", "\\n", "\\u0041", "\\ud800", "\\uD83D", "\\udc00", "\\uDE00", "u", "d800"]),
    max_size=8,
)


@example(["\\ud800", "\\\\", "\\udc00"])
@given(ESCAPES)
def test_half_of_a_surrogate_pair(parts: list[str]) -> None:
    """It is no character, and could not be encoded again."""
    content = f'{{"{"".join(parts)}": 1}}'.encode()
    try:
        json.dumps(json.loads(content), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        with pytest.raises(ManifestInvalid):
            read_json(content)
    else:
        assert read_json(content) == json.loads(content)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe{\0}\0", '\ufeff{"a": 1}'.encode(), '{"a": 1}'.encode("utf-16"), b'{"\xff": 1}']
)
def test_nothing_but_utf_8(content: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        read_json(content)


@pytest_twisted.ensureDeferred
async def test_long_documents_are_read_in_threads(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def note(content: bytes) -> dict[str, Any]:
        threads.append(threading.get_ident())
        return read_json(content)

    monkeypatch.setattr(module, "read_json", note)
    for content in (COSTLY["objects"], COSTLY["urls"], COSTLY["a string without an end"]):
        with pytest.raises(ManifestInvalid):
            await place.registry.manifests.put(APP, content, OCI_INDEX, None, [])
    assert len(threads) == 3
    assert threading.get_ident() not in threads


@pytest_twisted.ensureDeferred
async def test_and_one_at_a_time(place: Place) -> None:
    """So the memory that they need does not add up."""
    parser, running, most = Parser(place.workers), 0, 0

    def read() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        json.loads(b"[" + b"1," * 10_000 + b"1]")
        running -= 1

    await gatherResults([Deferred.fromCoroutine(parser.run(MiB, read)) for _ in range(20)], consumeErrors=True)
    assert (running, most) == (0, 1)


@pytest_twisted.ensureDeferred
async def test_one_that_is_refused_is_let_go(place: Place) -> None:
    """Its exception lives on in a cycle until Python looks for such: 64 documents of 4 MiB were kept by theirs."""

    class Document:
        pass

    def refuse(document: Document) -> None:
        raise ManifestInvalid("no")

    document = Document()
    seen = ref(document)
    gc.disable()
    try:
        await Parser(place.workers).run(MiB, refuse, document)
    except ManifestInvalid as error:
        del document
        clear_frames(error.__traceback__)
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("content", [COSTLY["objects"], COSTLY["annotations"], b"[]", b'{"mediaType":"a/b"}'])
@pytest_twisted.ensureDeferred
async def test_descriptors_that_are_stored(place: Place, content: bytes) -> None:
    """Another program may have written to the bucket."""
    subject, digest = digest_of(b"subject"), digest_of(b"manifest")
    file = place.files / layout.referrer(APP, subject, digest)
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(Corrupt):
        await place.registry.referrers.entry(place.bucket, APP, subject, digest)


@pytest.mark.parametrize("content", [b"{}" * MiB, b"[" * MiB, b'{"cid":' + b"1" * MiB + b"}\n", b"", b"\n" * MiB])
def test_dags_that_are_stored(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode_dag(content)
