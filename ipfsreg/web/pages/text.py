"""How things are written for people. What strangers wrote is bounded here, and cannot disguise itself."""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime

_AGES = ((365 * 86400, "year"), (30 * 86400, "month"), (86400, "day"), (3600, "hour"), (60, "minute"))
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

KINDS: Mapping[str, str] = {
    "application/vnd.dev.cosign.artifact.sig.v1+json": "cosign signature",
    "application/vnd.dev.cosign.simplesigning.v1+json": "cosign signature",
    "application/vnd.dev.sigstore.bundle.v0.3+json": "Sigstore bundle",
    "application/vnd.cncf.notary.signature": "Notation signature",
    "application/vnd.in-toto+json": "in-toto attestation",
    "application/vnd.dsse.envelope.v1+json": "signed attestation",
    "application/spdx+json": "SPDX SBOM",
    "text/spdx": "SPDX SBOM",
    "application/vnd.cyclonedx+json": "CycloneDX SBOM",
    "application/vnd.cyclonedx+xml": "CycloneDX SBOM",
    "application/vnd.syft+json": "Syft SBOM",
    "application/sarif+json": "scan report (SARIF)",
    "application/vnd.ipfsreg.published.v1+json": "IPFS view",
    "application/vnd.cncf.helm.config.v1+json": "Helm chart",
    "application/vnd.cncf.helm.chart.content.v1.tar+gzip": "chart",
    "application/vnd.cncf.helm.chart.provenance.v1.prov": "chart provenance",
    "application/vnd.oci.image.config.v1+json": "image",
    "application/vnd.docker.container.image.v1+json": "image",
    "application/vnd.oci.empty.v1+json": "artifact",
    "application/vnd.unknown.artifact.v1": "artifact",
    "application/vnd.unknown.config.v1+json": "artifact",
    "application/vnd.oci.image.layer.v1.tar": "layer",
    "application/vnd.oci.image.layer.v1.tar+gzip": "layer, gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "layer, zstd",
    "application/vnd.docker.image.rootfs.diff.tar": "layer",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "layer, gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "layer, zstd",
}
"""What a media type or artifact type is called."""


def clip(value: object, most: int = 200) -> str:
    """Text of a stranger, at most so many characters. What cannot be seen, or turns what follows around, is ``�``."""
    text = value if isinstance(value, str) else "" if value is None else str(value)[: most + 1]
    shown = text[:most]
    if not shown.isprintable():
        shown = "".join(map(_visible, shown))
    return f"{shown}…" if len(text) > most else shown


def clip_lines(value: str, most: int) -> str:
    """As `clip`, but line breaks and tabs stay."""
    shown = value[:most]
    if not shown.replace("\n", "").replace("\t", "").isprintable():
        shown = "".join(letter if letter in "\n\t" else _visible(letter) for letter in shown)
    return f"{shown}…" if len(value) > most else shown


def _visible(letter: str) -> str:
    if letter.isascii():
        return letter if letter.isprintable() else " " if letter in "\n\t\r" else "�"
    return "�" if unicodedata.category(letter) in _HIDDEN else letter


def is_link(text: str) -> bool:
    """Whether text of a stranger is the address of a page, whole and nothing else, so that it may be one to follow."""
    return text.startswith(("https://", "http://")) and not {*' "<>\\`\N{REPLACEMENT CHARACTER}…'} & {*text}


def kind_of(media_type: str | None) -> str:
    """What a media type or artifact type is called; itself where it is none of `KINDS`."""
    return KINDS.get(media_type or "", clip(media_type, 100)) or "artifact"


def duration_text(seconds: float) -> str:
    """A time such as ``2 hours``, rounded down to the largest unit of which there are two, or one and no more."""
    for length, name in _AGES:
        count = int(seconds // length)
        if count > 1 or seconds == length:
            return _counted(count, name)
    return _counted(int(seconds), "second")


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def age_text(then: datetime, now: datetime) -> str:
    """How long ago something was, such as ``3 days ago``."""
    seconds = (now - then).total_seconds()
    if seconds < -60:
        return f"on {then:%Y-%m-%d}"
    for length, name in _AGES:
        if seconds >= length:
            return f"{_counted(int(seconds // length), name)} ago"
    return "just now"


def read_time(value: object) -> datetime | None:
    """A time as documents have it (RFC 3339); None where it is none."""
    if not isinstance(value, str) or len(value) > 64:
        return None
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def time_of(seconds: float | None) -> datetime | None:
    """A time in seconds since 1970; None where there is none, or none that a calendar has."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def short(digest: object) -> str:
    """The beginning of a digest, for reading."""
    algorithm, _, encoded = str(digest).partition(":")
    return f"{algorithm}:{encoded[:12]}"
