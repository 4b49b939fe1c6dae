"""The grammar of repository names and tags (distribution-spec, "Pulling manifests")."""

import re
from typing import NewType

from .digest import Digest, parse_digest
from .errors import NameInvalid, TagInvalid

Repository = NewType("Repository", str)
"""A repository name that follows the grammar, such as ``library/busybox``."""

Tag = NewType("Tag", str)
"""A tag that follows the grammar, such as ``1.36``."""

NAME_MAX = 255
"""Docker's limit, which clients count with the registry's host name in it."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


def parse_repository(text: str) -> Repository:
    """Check a repository name.

    :raises NameInvalid: with what the grammar is.
    """
    if len(text) > NAME_MAX:
        raise NameInvalid(f"repository name is longer than {NAME_MAX} characters", {"name": text[:NAME_MAX]})
    if not _NAME.fullmatch(text):
        raise NameInvalid(
            "repository name must be lower-case letters and digits, joined by single . _ __ or - and by /",
            {"name": text},
        )
    return Repository(text)


def parse_reference(text: str) -> tuple[Repository, Tag | Digest]:
    """Read ``NAME[:TAG|@DIGEST]``; without either the tag is ``latest``, as in Docker.

    :raises NameInvalid: :raises TagInvalid: :raises DigestInvalid: with what the grammar is.
    """
    name, at, digest = text.partition("@")
    if at:
        return parse_repository(name), parse_digest(digest)
    name, colon, tag = text.partition(":")
    return parse_repository(name), parse_tag(tag if colon else "latest")


def format_reference(repository: str, reference: Tag | Digest) -> str:
    """What `parse_reference` reads."""
    return f"{repository}{'@' if isinstance(reference, Digest) else ':'}{reference}"


def is_component(text: str) -> bool:
    """Whether this can be one component of a repository name (what lies between two slashes)."""
    return re.fullmatch(_COMPONENT, text) is not None


def is_tag(text: str) -> bool:
    """Whether this can be a tag."""
    return _TAG.fullmatch(text) is not None


def parse_tag(text: str) -> Tag:
    """Check a tag.

    :raises TagInvalid: with what the grammar is.
    """
    if not is_tag(text):
        raise TagInvalid(
            "a tag is at most 128 letters, digits, _ . and -, and does not begin with . or -",
            {"tag": text[:256]},
        )
    return Tag(text)
