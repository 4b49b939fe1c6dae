"""What happened, and its form for others: that of Docker's registry notifications.

(CNCF distribution, "Work with notifications".)
"""

import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from ipfsreg.registry.digest import Digest

ENVELOPE = "application/vnd.docker.distribution.events.v1+json"
"""The media type of ``{"events": […]}``."""

_DAEMON = secrets.randbits(62)


class EventAction(Enum):
    """What can happen. The words are Docker's."""

    __hash__ = object.__hash__  # there is one of each; Enum's own, in Python, is called for each pull

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    MOUNT = "mount"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who did it, and how. It has no secret in it.

    ``user`` is a name or "". ``address`` is the client's; ``host`` the name that it has for this registry, with
    ``scheme``; ``request`` is what the request is called in the log.
    """

    user: str = ""
    address: str = ""
    scheme: str = ""
    host: str = ""
    method: str = ""
    agent: str = ""
    request: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """What it was done to: a manifest, a blob or a tag of a repository, as far as it is known.

    ``tag`` is the one by which a manifest was asked for, or that now points to it. ``source`` is the repository that a
    blob was mounted from.
    """

    repository: str
    digest: Digest | None = None
    tag: str | None = None
    media_type: str = ""
    size: int | None = None
    source: str | None = None

    @property
    def is_manifest(self) -> bool:
        """Whether it is a manifest or a tag, and not a blob."""
        return self.media_type != BLOB


BLOB = "application/octet-stream"
"""The media type that blobs have in events."""


@dataclass(frozen=True, slots=True)
class Event:
    """``number`` is larger than those of all events before, also of earlier daemons. ``at`` is seconds since 1970."""

    number: int
    at: float
    action: EventAction
    target: Target
    origin: Origin

    @property
    def identifier(self) -> str:
        """A UUID."""
        return str(uuid.UUID(int=(self.number << 64) | _DAEMON, version=4))

    def document(self, instance: str = "") -> dict[str, Any]:
        """One event of an envelope. ``instance`` is what to call the daemon."""
        target, origin = self.target, self.origin
        return {
            "id": self.identifier,
            "timestamp": datetime.fromtimestamp(self.at, UTC).isoformat(timespec="microseconds"),
            "action": self.action.value,
            "target": _without_nothing(
                {
                    "mediaType": target.media_type,
                    "digest": None if target.digest is None else str(target.digest),
                    "size": target.size,
                    "length": target.size,
                    "repository": target.repository,
                    "fromRepository": target.source,
                    "url": _url(target, origin),
                    "tag": target.tag,
                }
            ),
            "request": _without_nothing(
                {
                    "id": origin.request,
                    "addr": origin.address,
                    "host": origin.host,
                    "method": origin.method,
                    "useragent": origin.agent,
                }
            ),
            "actor": _without_nothing({"name": origin.user}),
            "source": _without_nothing({"addr": origin.host, "instanceID": instance}),
        }


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as it was written down; ``document`` is JSON."""

    number: int
    action: str
    media_type: str
    repository: str
    document: str

    @classmethod
    def of(cls, event: Event, instance: str = "") -> "LoggedEvent":
        """An event that happens. ``instance`` is what to call the daemon."""
        target, document = event.target, as_json(event.document(instance))
        return cls(event.number, event.action.value, target.media_type, target.repository, document)


def envelope(documents: list[str]) -> bytes:
    """The content of a notification from events that are JSON already."""
    return f'{{"events": [{", ".join(documents)}]}}'.encode()


def as_json(document: Mapping[str, Any]) -> str:
    """ASCII, in one line."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True)


def _without_nothing(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _url(target: Target, origin: Origin) -> str | None:
    if not origin.host or target.digest is None:
        return None
    kind = "manifests" if target.is_manifest else "blobs"
    return f"{origin.scheme}://{origin.host}/v2/{target.repository}/{kind}/{target.digest}"
