"""pytest fixtures: import them into a test module, or name this module in ``pytest_plugins``."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest_twisted

from .accounts import ApiKey
from .identity import decode_multibase, to_base32
from .server import TextileDouble


@pytest_twisted.async_yield_fixture()
async def textile_hub() -> AsyncIterator[TextileDouble]:
    """A hub that listens. Its API keys are made with ``double.accounts.add_key()``."""
    double = TextileDouble(hub=True).start()
    yield double
    await double.stop()


@pytest_twisted.async_yield_fixture()
async def textile_buckd() -> AsyncIterator[TextileDouble]:
    """A buckd that listens."""
    double = TextileDouble(hub=False).start()
    yield double
    await double.stop()


def metadata_of(key: ApiKey, thread: str = "", token: str = "") -> dict[str, str]:
    """What a client of a hub sends with a call: the key, a fresh signature, thread and token where given."""
    message = f"{datetime.now(UTC) + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}"
    signature = hmac.digest(decode_multibase(key.secret), message.encode(), hashlib.sha256)
    metadata = {
        "x-textile-api-key": key.key,
        "x-textile-api-sig-msg": message,
        "x-textile-api-sig": to_base32(signature),
    }
    if thread:
        metadata["x-textile-thread"] = thread
    if token:
        metadata["authorization"] = f"bearer {token}"
    return metadata
