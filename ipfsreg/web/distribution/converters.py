"""Path segments become checked values before a handler sees them."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from werkzeug.routing import BaseConverter

from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.ipfs.image_names import CID_NAME, parse_image_name
from ipfsreg.registry.names import Tag, parse_repository, parse_tag


def converter(parse: Callable[[str], Any], regex: str = "[^/]+", *, is_segment: bool = True) -> type[BaseConverter]:
    """A kind of parts of paths: text that matches and that ``parse`` takes, be it a segment between slashes or not."""

    def to_python(self: BaseConverter, value: str) -> Any:
        return parse(value)

    return type("Converter", (BaseConverter,), {"regex": regex, "part_isolating": is_segment, "to_python": to_python})


def _parse_tag_or_digest(text: str) -> Tag | Digest:
    return parse_digest(text) if ":" in text else parse_tag(text)


CONVERTERS: Mapping[str, type[BaseConverter]] = {
    # What does not look like the CID of an image is left to be a repository's name.
    "cid": converter(parse_image_name, CID_NAME),
    "repository": converter(parse_repository, "[^?]+?", is_segment=False),
    "digest": converter(parse_digest),
    "reference": converter(_parse_tag_or_digest),
    # In pages' paths a repository's name ends where a tag or a digest begins.
    "name": converter(parse_repository, "[^?:@]+?", is_segment=False),
    "tag": converter(parse_tag, "[^/:@]+", is_segment=False),
}
"""``<repository:…>`` and so on in the paths of routes: `NameInvalid`, `TagInvalid` or `DigestInvalid` if it is none."""


def path(*segments: object) -> str:
    """A path below ``/v2/`` for a Location or Link header."""
    return "/v2/" + "/".join(quote(str(segment), safe="/:") for segment in segments)
