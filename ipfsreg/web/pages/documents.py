"""What pages show of manifests and configurations: a bounded part of documents that strangers wrote.

Everything here may be called in a thread, and answers small things for large documents.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import DigestInvalid
from ipfsreg.registry.image_config import IMAGE_CONFIGS, platform_of, steps_of
from ipfsreg.registry.manifest import IMAGES, INDEXES

from .text import clip, clip_lines, read_time

SHOWN = 200
"""How many layers, platforms, steps of a history, labels and so on are shown of each document."""

RAW_MAX = 32 * 1024
"""Characters that are shown of a document itself."""

_TITLE = "org.opencontainers.image.title"
_ATTESTS = "vnd.docker.reference.digest"


@dataclass(frozen=True, slots=True)
class Part:
    """What a manifest refers to.

    ``title`` is a file's name, ``platform`` an image's, and ``attests`` the digest of what it vouches for.
    """

    digest: Digest
    media_type: str
    size: int
    title: str = ""
    platform: str = ""
    attests: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest. ``size`` are the bytes of all that it refers to; of ``parts`` there may be more than are here."""

    kind: str
    parts: Sequence[Part]
    count: int
    size: int
    config: Part | None
    subject: Digest | None
    annotations: Sequence[tuple[str, str]]
    artifact_type: str
    raw: str

    @property
    def is_index(self) -> bool:
        """Whether it lists other manifests."""
        return self.kind == "index"

    @property
    def images(self) -> Sequence[Part]:
        """The images of an index: what is for a platform."""
        return [part for part in self.parts if not part.attests]

    @property
    def platforms(self) -> Sequence[str]:
        """The platforms of an index, each once."""
        return list(dict.fromkeys(part.platform for part in self.images if part.platform))


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an image's history. ``layer`` is the number of the layer that it made, None where it made none."""

    command: str
    created: datetime | None
    comment: str
    layer: int | None


@dataclass(frozen=True, slots=True)
class Config:
    """An image's configuration. ``settings`` are what a container is started with, by what it is called."""

    platform: str
    created: datetime | None
    settings: Sequence[tuple[str, Sequence[str]]]
    labels: Sequence[tuple[str, str]]
    history: Sequence[Step]
    raw: str


def read_document(content: bytes, media_type: str) -> Document:
    """A manifest or index.

    :raises ManifestInvalid: where it is not a JSON object.
    """
    document = read_json(content)
    is_index = media_type in INDEXES
    listed = _list(document.get("manifests" if is_index else "layers" if media_type in IMAGES else "blobs"))
    config = _part(document.get("config")) if media_type in IMAGES else None
    is_image = config is not None and config.media_type in IMAGE_CONFIGS
    artifact_type = document.get("artifactType") or (config.media_type if config and not is_image else "")
    subject = _part(document.get("subject"))
    sizes = (each.get("size") for each in listed if isinstance(each, dict))
    return Document(
        kind="index" if is_index else "image" if is_image else "artifact",
        parts=[part for part in map(_part, islice(listed, SHOWN)) if part is not None],
        count=len(listed),
        size=sum(size for size in sizes if type(size) is int) + (0 if config is None else config.size),
        config=config,
        subject=None if subject is None else subject.digest,
        annotations=_pairs(document.get("annotations")),
        artifact_type=clip(artifact_type, 100),
        raw=_raw(content),
    )


def read_config(content: bytes) -> Config:
    """An image's configuration.

    :raises ManifestInvalid: where it is not a JSON object.
    """
    document = read_json(content)
    inner = document.get("config")
    inner = inner if isinstance(inner, dict) else {}
    return Config(
        platform=_platform(document),
        created=read_time(document.get("created")),
        settings=list(_settings(document, inner)),
        labels=_pairs(inner.get("Labels")),
        history=list(_history(document)),
        raw=_raw(content),
    )


def _platform(value: object) -> str:
    found = "/".join(clip(name, 32) for name in platform_of(value))
    return "" if found == "unknown/unknown" else found


def _settings(document: Mapping[str, Any], inner: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    for name, value in (
        ("Entrypoint", [_command(inner.get("Entrypoint"))]),
        ("Command", [_command(inner.get("Cmd"))]),
        ("Working directory", [inner.get("WorkingDir")]),
        ("User", [inner.get("User")]),
        ("Environment", _list(inner.get("Env"))),
        ("Ports", inner.get("ExposedPorts") or ()),
        ("Volumes", inner.get("Volumes") or ()),
        ("Stop signal", [inner.get("StopSignal")]),
        ("Author", [document.get("author")]),
    ):
        texts = value if isinstance(value, list | dict) else ()
        shown = [clip(text, 1000) for text in islice(texts, SHOWN) if isinstance(text, str) and text]
        if shown:
            yield name, shown


def _command(value: object) -> str:
    words = [clip(word, 1000) for word in islice(_list(value), 100) if isinstance(word, str)]
    return " ".join(word if word and not set(word) & set(" \"'\\$") else repr(word) for word in words)


def _history(config: Mapping[str, Any]) -> Iterator[Step]:
    layer = 0
    for step in steps_of(config, SHOWN):
        made = None
        if not step.empty_layer:
            made, layer = layer, layer + 1
        yield Step(_readable(clip(step.created_by, 2000)), read_time(step.created), clip(step.comment, 200), made)


def _readable(command: str) -> str:
    """What a builder noted, without what it puts around each step."""
    command = command.removesuffix(" # buildkit").strip()
    for start in ("/bin/sh -c #(nop) ", "/bin/sh -c "):
        if command.startswith(start):
            rest = command.removeprefix(start).strip()
            return rest if "#(nop)" in start else f"RUN {rest}"
    return command.replace("RUN /bin/sh -c ", "RUN ", 1)


def _part(value: object) -> Part | None:
    if not isinstance(value, dict):
        return None
    size, annotations = value.get("size"), value.get("annotations")
    try:
        digest = parse_digest(str(value.get("digest"))[:200])
    except DigestInvalid:
        return None
    notes = annotations if isinstance(annotations, dict) else {}
    return Part(
        digest,
        clip(value.get("mediaType"), 120),
        size if type(size) is int and size >= 0 else 0,
        clip(notes.get(_TITLE), 120),
        _platform(value.get("platform")),
        clip(notes.get(_ATTESTS), 140),
    )


def _pairs(value: object) -> Sequence[tuple[str, str]]:
    pairs: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else ()
    return [(clip(name, 200), clip(text, 2000)) for name, text in islice(pairs, SHOWN)]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _raw(content: bytes) -> str:
    return clip_lines(content[: 4 * RAW_MAX].decode("utf-8", "replace"), RAW_MAX)
