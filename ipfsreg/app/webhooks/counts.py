"""What became of the events for webhooks, in numbers."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebhookCounts:
    """What the endpoint ``name`` has taken, attempts that failed, and events that were lost or wait."""

    name: str
    sent: int
    failures: int
    lost: int
    waiting: int


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Webhooks, and the events that could not be written down for them."""

    webhooks: Sequence[WebhookCounts] = ()
    not_written: int = 0
