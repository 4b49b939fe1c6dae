"""What strangers write: names, documents, and bytes that claim a digest."""

import base64
import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import IReader
from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, SHA2_256
from ipfsreg.registry.content.checked_reads import VerifiedReader
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import ManifestInvalid, NameInvalid
from ipfsreg.registry.ipfs.image_names import parse_image_name
from ipfsreg.registry.ipfs.image_tree import read_document, read_root
from ipfsreg.registry.manifest import OCI_IMAGE, OCI_INDEX
from tests.bucket.storage import read_into

HASHES = st.binary(min_size=32, max_size=32)
DIGEST = "sha256:" + "0" * 64


@given(HASHES, st.sampled_from([RAW, DAG_PB]))
def test_every_way_to_write_a_cid_in_a_name(hash_: bytes, codec: int) -> None:
    cid = CID(1, codec, SHA2_256, hash_)
    assert parse_image_name(str(cid)) == cid
    assert parse_image_name("f" + cid.binary.hex()) == cid
    v0 = CID(0, DAG_PB, SHA2_256, hash_)
    name = base64.b32encode(v0.binary).decode().rstrip("=").lower()
    assert name.startswith("ciq")
    assert parse_image_name(name) == v0


@given(st.one_of(st.text(max_size=80), st.from_regex(r"(b|k|ciq)[a-z0-9]{40,70}", fullmatch=True)))
def test_a_name_that_is_none(text: str) -> None:
    with suppress(NameInvalid):
        parse_image_name(text)


def test_cids_of_other_things() -> None:
    with pytest.raises(NameInvalid, match="something else"):
        parse_image_name(str(CID(1, 0x72, SHA2_256, b"\0" * 32)))  # an IPNS name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(DIGEST) | st.just(OCI_IMAGE),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(["mediaType", "digest", "size", "urls", "config", "layers", "manifests", "annotations"]),
            below,
        )
    ),
    max_leaves=20,
)


@given(st.one_of(JSON.map(lambda each: json.dumps(each).encode()), st.binary(max_size=50)))
def test_any_document_is_read_or_refused(content: bytes) -> None:
    for read in (read_document, read_root):
        with suppress(ManifestInvalid):
            read(content)


def test_what_a_document_lists() -> None:
    descriptor = {"mediaType": "a/b", "digest": DIGEST, "size": 3}
    urls = ["https://127.0.0.1/x", "ipfs://one", "ipfs://two"]
    index = {"manifests": [{**descriptor, "urls": urls, "annotations": {"org.opencontainers.image.ref.name": "x:1"}}]}
    document = read_document(json.dumps(index).encode())
    (listed,) = document.lists
    assert document.media_type == OCI_INDEX
    assert (listed.is_manifest, listed.cid, listed.name) == (True, "one", "x:1")
    layers = [{**descriptor, "urls": ["ipfs://one"]}, {**descriptor, "urls": urls[:1]}]
    image = read_document(json.dumps({"config": descriptor, "layers": layers}).encode())
    assert image.media_type == OCI_IMAGE
    assert [(each.is_manifest, each.may_be_missing) for each in image.lists] == [
        (False, False),
        (False, False),
        (False, True),
    ]


@implementer(IReader)
class _Reader:
    file = None

    def __init__(self, pieces: list[bytes], failure: Exception | None) -> None:
        self.size = None
        self._pieces = pieces
        self._failure = failure

    async def pieces(self, offset: int, length: int) -> AsyncGenerator[bytes, None]:
        for piece in self._pieces:
            yield piece
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        pass


@implementer(IConsumer)
class _Consumer:
    def __init__(self) -> None:
        self.content = b""
        self.registered = 0

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self.registered += 1

    def unregisterProducer(self) -> None:
        self.registered -= 1

    def write(self, data: bytes) -> None:
        assert self.registered == 1
        self.content += data


SIZES = st.lists(st.integers(0, 40_000), max_size=5)


@given(SIZES, st.integers(0, 2**64), st.booleans(), st.booleans())
def test_what_is_wrong_never_comes_whole(sizes: list[int], seed: int, right: bool, broken: bool) -> None:
    pieces = [hashlib.shake_128(b"%d %d" % (seed, index)).digest(size) for index, size in enumerate(sizes)]
    content = b"".join(pieces)
    digest = digest_of(content if right else content + b"x")
    consumer = _Consumer()
    reader = VerifiedReader(_Reader(pieces, Corrupt("broken") if broken else None), digest, len(content))
    results: list[object] = []
    read_into(reader, consumer, 0, len(content)).addBoth(results.append)
    assert consumer.registered == 0
    if right and not broken:
        assert (results, consumer.content) == ([None], content)
    else:
        assert isinstance(results[0], Failure)
        assert results[0].check(Corrupt)
        assert content.startswith(consumer.content)
        assert len(consumer.content) < len(content) or not content
