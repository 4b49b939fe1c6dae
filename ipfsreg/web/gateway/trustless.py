"""What a request to the trustless gateway asks for (https://specs.ipfs.tech/http-gateways/trustless-gateway/)."""

import re
from dataclasses import dataclass
from hashlib import sha256

from ipfsreg.registry.errors import FormatUnsupported, ParameterInvalid
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import parameter

from .accept import accepted

RAW_TYPE = "application/vnd.ipld.raw"
CAR = "application/vnd.ipld.car"

_FORMATS = {"raw": RAW_TYPE, "car": CAR}
_SCOPES = {"block", "entity", "all"}
_RANGE = re.compile(r"(-?[0-9]{1,18}):(\*|-?[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A format, and what is to be in it.

    ``first`` and ``last`` are of ``entity-bytes``: negative ones count from the end of the file.
    """

    media_type: str
    scope: str = "all"
    first: int = 0
    last: int | None = None
    duplicates: bool = False

    @property
    def content_type(self) -> str:
        """The answer's media type, with what was granted."""
        is_raw = self.media_type == RAW_TYPE
        return RAW_TYPE if is_raw else f"{CAR}; version=1; order=dfs; dups={'ny'[self.duplicates]}"

    def etag(self, cid: str) -> str:
        """The entity tag of the answer, without quotes."""
        if self.media_type == RAW_TYPE:
            return f"{cid}.raw"
        parameters = f"{self.scope} {self.first} {self.last} {self.duplicates}"
        return f"{cid}.car.{sha256(parameters.encode()).hexdigest()[:12]}"

    def range_in(self, size: int) -> tuple[int, int]:
        """Which bytes of a file are wanted: the first, and the one past the last; none where they lie outside."""
        first = self.first if self.first >= 0 else max(size + self.first, 0)
        last = size - 1 if self.last is None else self.last if self.last >= 0 else size + self.last
        return first, min(last + 1, size)


def wanted_by(request: Request) -> Wanted:
    """Read a request.

    :raises FormatUnsupported: where it is for neither a block nor a CAR.
    :raises ParameterInvalid: where a parameter says nothing sensible.
    """
    media_type, options = _format(request)
    if media_type == RAW_TYPE:
        return Wanted(RAW_TYPE)
    for name in ("version", "order", "dups"):
        given = parameter(request, f"car-{name}")
        if given is not None:
            options[name] = given
    _one_of("car-version", options.get("version", "1"), {"1"})
    _one_of("car-order", options.get("order", "dfs"), {"dfs", "unk"})
    _one_of("car-dups", options.get("dups", "n"), {"y", "n"})
    first, last = _entity_bytes(parameter(request, "entity-bytes"))
    scope = _one_of("dag-scope", parameter(request, "dag-scope") or "all", _SCOPES)
    return Wanted(CAR, scope, first, last, options.get("dups") == "y")


def _format(request: Request) -> tuple[str, dict[str, str]]:
    """The media type, and its parameters as the Accept header has them."""
    offered = accepted(request)
    name = parameter(request, "format")
    if name is not None:
        if name not in _FORMATS:
            raise FormatUnsupported("this gateway serves format=raw and format=car", {"format": name[:64]})
        options = next((each.parameters for each in offered if each.media_type == _FORMATS[name]), {})
        return _FORMATS[name], options
    for each in offered:
        if each.media_type in _FORMATS.values():
            return each.media_type, each.parameters
    raise FormatUnsupported("say format=raw or format=car: this gateway serves nothing that has to be trusted")


def _entity_bytes(text: str | None) -> tuple[int, int | None]:
    if text is None:
        return 0, None
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ParameterInvalid("entity-bytes is <first>:<last>, or <first>:* to the end", {"entity-bytes": text[:64]})
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _one_of(name: str, value: str, known: set[str]) -> str:
    if value not in known:
        raise ParameterInvalid(f"{name} is {' or '.join(sorted(known))} here", {name: value[:64]})
    return value
