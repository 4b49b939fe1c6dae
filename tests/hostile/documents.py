"""Manifests and CARs that a fuzzer made of sound ones. The same for a seed."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from .requests import DIGEST, mutate

OCI_IMAGE = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_TYPES = (
    OCI_IMAGE,
    OCI_INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/json",
    "",
    "a" * 300,
)
_DESCRIPTOR = {"mediaType": "application/octet-stream", "digest": DIGEST.decode(), "size": 2}
_SOUND: tuple[dict[str, Any], ...] = (
    {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": _DESCRIPTOR, "layers": [_DESCRIPTOR] * 3},
    {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{**_DESCRIPTOR, "platform": {"os": "linux"}}] * 2},
    {
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "artifactType": "a/b",
        "config": {**_DESCRIPTOR, "data": "e30="},
        "layers": [{**_DESCRIPTOR, "urls": ["https://127.0.0.1/x"], "annotations": {"a": "b"}}],
        "subject": _DESCRIPTOR,
        "annotations": {"org.opencontainers.image.created": "2026-11-30T00:00:00Z"},
    },
)
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**400, 1.5, 1e308, "", "a", "sha256:", "sha256:" + "0" * 64,
    "sha256:" + "A" * 64, "\0", "\ud800", "é", "a" * 5000, [], {}, [[]], [{}] * 50, {"a": {}}, {"": ""}, [None] * 20,
)  # fmt: skip
_RAW = (
    b"", b"null", b"[]", b"{}", b'"', b'"NaN' + b"a" * 60, b"NaN", b"Infinity", b"-", b"1e999", b"[" * 5000,
    b'{"a":' * 5000, b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"{\"a\":1,\"a\":2}", b"[" + b"{}," * 2000 + b"{}]",
    b'{"schemaVersion":2,"layers":[' + b"{}," * 2000 + b"{}]}", b'"' + b"\\" * 5001, b"\0" * 100, b'{"a":"\\ud800"}',
    b"1" * 5000,
)  # fmt: skip

LONGEST = 4 * 1024 * 1024


def _longest(head: str, item: str, end: str) -> bytes:
    return (head + item * ((LONGEST - len(head) - len(end)) // len(item)) + end).encode()


_IMAGE = f'{{"schemaVersion":2,"config":{json.dumps(_DESCRIPTOR)},'


def _annotated() -> bytes:
    annotations = json.dumps({f"{number:08}": "a" for number in range(170_000)})
    return f'{_IMAGE}"layers":[],"annotations":{annotations}}}'.encode()


LONG: Mapping[str, Callable[[], bytes]] = {
    "brackets": partial(_longest, '{"schemaVersion":2,"layers":[', "{},", "{}]}"),
    "an unterminated string": partial(_longest, '"NaN', "a", ""),
    "depth": partial(_longest, '{"x":', "[", ""),
    "fractions": partial(_longest, _IMAGE + '"layers":[],"x":[', "1.5123123123123,", "1]}"),
    "escapes": partial(_longest, _IMAGE + '"layers":[],"x":"', "\\\\", '"}'),
    "one name": partial(_longest, _IMAGE, '"aaaaaaaaaaaaaaaa":1,', '"layers":[]}'),
    "one layer": partial(
        _longest, _IMAGE + '"layers":[', json.dumps(_DESCRIPTOR) + ",", json.dumps(_DESCRIPTOR) + "]}"
    ),
    "annotations": _annotated,
}
"""Image manifests as long as they may be, made to cost as much as possible: none is accepted."""


def manifests(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """That many media types with documents: odd values in sound manifests, and bytes that are no JSON at all."""
    chance = random.Random(seed)
    for _ in range(count):
        kind = chance.choice(MEDIA_TYPES)
        if chance.random() < 0.1:
            yield kind, chance.choice(_RAW)
            continue
        document = json.loads(json.dumps(chance.choice(_SOUND)))
        for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
            _replace(chance, document)
        content = bytearray(json.dumps(document).encode())
        if chance.random() < 0.3:
            mutate(chance, content)
        yield kind, bytes(content)


def mutations(seed: int, sound: bytes, count: int) -> Iterator[bytes]:
    """That many mutations of a document that is sound, in one to five places."""
    chance = random.Random(seed)
    for _ in range(count):
        content = bytearray(sound)
        for _ in range(chance.randrange(1, 6)):
            mutate(chance, content)
        yield bytes(content)


def _replace(chance: random.Random, document: Any) -> None:
    """Put something odd in place of one value, remove it, or add one of an odd name."""
    while True:
        keys: list[Any] = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = document[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.6:
            document = inner
            continue
        match chance.randrange(4):
            case 0:
                del document[key]
            case 1 if isinstance(document, dict):
                document[chance.choice(("", "mediaType", "x" * 100, "é", "subject", "blobs"))] = deepcopy(
                    chance.choice(_ODD)
                )  # it may be changed next
            case _:
                document[key] = deepcopy(chance.choice(_ODD))
        return
