"""Path segments become checked values before a handler sees them."""

from collections.abc import Mapping
from urllib.parse import quote

from werkzeug.routing import BaseConverter

from ipfsreg.ipfs.cid import CID
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.ipfs.image_names import CID_NAME, parse_image_name
from ipfsreg.registry.names import Repository, Tag, parse_repository, parse_tag


class RepositoryConverter(BaseConverter):
    """A repository name of any number of components. `NameInvalid` where it does not follow the grammar."""

    part_isolating = False
    regex = r"[^?]+?"

    def to_python(self, value: str) -> Repository:
        return parse_repository(value)


class CidConverter(BaseConverter):
    """A CID as an image's name has it: CIDv1 in base32, base36 or base16, or ``ciq…``. `NameInvalid` for anything else.

    What does not look like one is left to be a repository's name.
    """

    regex = CID_NAME

    def to_python(self, value: str) -> CID:
        return parse_image_name(value)


class DigestConverter(BaseConverter):
    """A digest. `DigestInvalid` where it does not follow the grammar."""

    def to_python(self, value: str) -> Digest:
        return parse_digest(value)


class ReferenceConverter(BaseConverter):
    """A tag or a digest: what has a colon is a digest. `TagInvalid` or `DigestInvalid`."""

    def to_python(self, value: str) -> Tag | Digest:
        return parse_digest(value) if ":" in value else parse_tag(value)


CONVERTERS: Mapping[str, type[BaseConverter]] = {
    "cid": CidConverter,
    "repository": RepositoryConverter,
    "digest": DigestConverter,
    "reference": ReferenceConverter,
}
"""``<repository:…>``, ``<cid:…>``, ``<digest:…>`` and ``<reference:…>`` in the paths of routes."""


def path(*segments: object) -> str:
    """A path below ``/v2/`` for a Location or Link header."""
    return "/v2/" + "/".join(quote(str(segment), safe="/:") for segment in segments)
