"""``[webhooks]``: whom to tell of what happens."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from .kinds import Positive, Section, expanded, url_problem

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_ACTIONS = frozenset({"pull", "push", "delete", "mount"})
_ENDPOINTS_MAX = 32


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where events are sent. ``secret`` is the file with the key of the signature.

    ``ignored`` are actions and media types of which nothing is sent.
    """

    name: str
    url: str
    secret: Path | None = None
    ignored: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"WebhookEndpoint({self.name!r})"  # a URL may have a secret in it


def _endpoints(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if "\0" in value:
        raise ValueError("no line has a NUL")
    endpoints = tuple(_endpoint(line.split()) for line in value.splitlines() if line.strip())
    names = [each.name for each in endpoints]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two endpoints are called {name}")
    if len(endpoints) > _ENDPOINTS_MAX:
        raise ValueError(f"there are more than {_ENDPOINTS_MAX}")
    return endpoints


def _endpoint(words: list[str]) -> WebhookEndpoint:
    """An endpoint from its line. No message quotes a URL."""
    if len(words) < 2:
        raise ValueError("a line is NAME URL [secret=FILE] [ignore=WHAT,…]")
    name, url, *more = words
    if not _NAME.fullmatch(name):
        raise ValueError("a line begins with a name of letters, digits, . _ and -")
    problem = url_problem(url)
    if problem is not None:
        raise ValueError(
            f"{name}: its URL {problem}" + ("; sign with secret=FILE instead" if "password" in problem else "")
        )
    secret: Path | None = None
    ignored: frozenset[str] = frozenset()
    for word in more:
        option, _, value = word.partition("=")
        if option == "secret" and value:
            secret = expanded(Path(value))
        elif option == "ignore" and value:
            ignored = frozenset(value.split(","))
        else:
            raise ValueError(f"{name}: what follows its URL is secret=FILE or ignore=WHAT,…")
    for each in ignored - _ACTIONS:
        if "/" not in each:
            raise ValueError(f"{name}: {each[:64]!r} is neither {', '.join(sorted(_ACTIONS))} nor a media type")
    return WebhookEndpoint(name, url, secret, ignored)


class WebhookOptions(Section):
    """``[webhooks]``. ``queue`` is how many events are kept; ``timeout`` in seconds."""

    endpoints: Annotated[tuple[WebhookEndpoint, ...], BeforeValidator(_endpoints)] = ()
    queue: Annotated[int, Field(ge=100, le=10_000_000)] = 10_000
    timeout: Positive = 30.0
