"""Descriptors: what a document says of a content that it refers to (image-spec, "OCI Content Descriptors").

Go programs write ``null`` for a slice, map or pointer that is nil, and read it as one. So it is taken here where all
clients read it so.

In OCI's documents a descriptor's ``mediaType`` is REQUIRED ("OCI Content Descriptors"), a MUST by RFC 2119, and the
values of annotations MUST be strings ("Annotations", "Rules"). What lacks these is refused, though Docker's registry
2.8.2 and olareg 0.1.2 take it. Docker's documents have no such rule, nor one about annotations at all: there such a
layer is one without a type, and such an annotation one without text, as for both of these registries.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .digest import Digest, digest_of, parse_digest
from .errors import DigestInvalid, ManifestInvalid


class Descriptor(NamedTuple):
    """A content by its digest. ``size`` is in bytes.

    A tuple, since some manifests list tens of thousands: it is made three times as fast as a dataclass.
    """

    media_type: str
    digest: Digest
    size: int
    urls: Sequence[str] | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] | None = None

    @classmethod
    def of(cls, media_type: str, content: bytes) -> "Descriptor":
        """That of content in memory."""
        return cls(media_type, digest_of(content), len(content))

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it: always in the same order, and without what is not there."""
        document = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        more = {"urls": self.urls, "artifactType": self.artifact_type, "annotations": self.annotations}
        return document | {name: value for name, value in more.items() if value is not None}


def encode_json(document: object) -> bytes:
    """JSON in its shortest form, always the same for the same document."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def read_descriptor(value: object, *where: object, docker: bool = False) -> Descriptor:
    """Check a descriptor out of a JSON document. ``where`` is its place there, for the message.

    With ``docker``, which is for blobs in documents of Docker's types, its media type may be missing: it is empty then.

    :raises ManifestInvalid: with the field that is wrong.
    """
    if type(value) is not dict:
        raise wrong("an object is needed", *where)
    media_type, size = value.get("mediaType"), value.get("size")
    if docker and media_type is None:
        media_type = ""
    if type(media_type) is not str or not (media_type or docker):
        raise wrong("a string that is not empty is needed", *where, "mediaType")
    if type(size) is not int or size < 0:
        raise wrong("a whole number that is not negative is needed", *where, "size")
    digest = value.get("digest")
    if type(digest) is not str:
        raise wrong("a string is needed", *where, "digest")
    try:
        parsed = parse_digest(digest)
    except DigestInvalid as error:
        raise ManifestInvalid(f"descriptor of {media_type[:256]}: {error.message}", error.detail) from None
    if len(value) == 3:
        return Descriptor(media_type, parsed, size)
    urls = value.get("urls")
    if urls is not None and not (type(urls) is list and all(type(each) is str for each in urls)):
        raise wrong("a list of strings is needed", *where, "urls")
    annotations = read_annotations(value, *where, docker=docker)
    return Descriptor(media_type, parsed, size, urls, read_text(value, "artifactType", *where), annotations)


def read_descriptors(document: dict[str, Any], field: str, *, docker: bool = False) -> Iterator[Descriptor]:
    """The descriptors in a field of a document, taken out of it one by one; none where it is null or missing.

    One by one, since to free tens of thousands at once keeps other threads waiting. See `read_descriptor`.

    :raises ManifestInvalid: with the first one that is wrong.
    """
    values = document.get(field)
    if values is None:
        return
    if type(values) is not list:
        raise wrong("a list is needed", field)
    for number, value in enumerate(values):
        values[number] = None
        yield read_descriptor(value, field, number, docker=docker)


def read_text(document: Mapping[str, Any], field: str, *where: object) -> str | None:
    """A field with text; None where it is null or missing.

    :raises ManifestInvalid: where it is something else.
    """
    value = document.get(field)
    if value is not None and type(value) is not str:
        raise wrong("a string is needed", *where, field)
    return value


def read_annotations(document: Mapping[str, Any], *where: object, docker: bool = False) -> Mapping[str, str] | None:
    """The annotations of a document or descriptor; None where they are null or missing.

    With ``docker``, one of them may be null: it is empty then.

    :raises ManifestInvalid: where one of them is not a string.
    """
    value = document.get("annotations")
    if value is None:
        return None
    if type(value) is not dict or not all(type(each) is str or (docker and each is None) for each in value.values()):
        raise wrong("an object of strings is needed", *where, "annotations")
    return {name: each or "" for name, each in value.items()} if docker else value


def wrong(what: str, *where: object) -> ManifestInvalid:
    """The error for what is wrong in a place of a document."""
    return ManifestInvalid(f"{'.'.join(map(str, where))}: {what}")
