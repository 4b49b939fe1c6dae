"""Filecoin archives, against the double's Powergate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from ipfsreg.bucket.errors import Refused, Unavailable
from ipfsreg.bucket.textile.archive import (
    archive_as_json,
    news,
    start,
    start_all,
    status,
    status_all,
    watch,
    watch_all,
)
from ipfsreg.bucket.textile.proto import bucketsd_pb2
from ipfsreg.bucket.textile.server.bucket_calls import BucketCalls
from ipfsreg.bucket.textile.server.errors import ArchiveNotNeeded, ArchiveRefused, NeverArchived
from ipfsreg.bucket.textile.server.signing import CallMetadata
from ipfsreg.bucket.textile.tasks import TEXTILE_TASKS
from tests.grpcweb_double.peer import eventually

from .double import Limits, TextileDouble
from .double.fixtures import textile_buckd, textile_hub
from .services import client_of, reactor, service_of

__all__ = ["textile_buckd", "textile_hub"]

MEBIBYTE = 1024 * 1024

FAILED = bucketsd_pb2.ARCHIVE_STATUS_FAILED
EXECUTING = bucketsd_pb2.ARCHIVE_STATUS_EXECUTING
SUCCESS = bucketsd_pb2.ARCHIVE_STATUS_SUCCESS


class Archived:
    """A server, and the calls about its bucket named ``ddocker``; `more` makes another one."""

    def __init__(self, double: TextileDouble, client: Any, thread: Any) -> None:
        self.double = double
        self.client = client
        self._thread = thread
        self.service = self.more("ddocker")

    def more(self, name: str) -> BucketCalls:
        return service_of(self.client, self.double.add_bucket(self._thread, name))


@asynccontextmanager
async def archived(hub: bool, *, powergate: bool) -> AsyncIterator[Archived]:
    limits = Limits(archive_smallest=MEBIBYTE)
    double = TextileDouble(hub=hub, powergate=powergate, limits=limits).start()
    try:
        key = double.accounts.add_key() if hub else None
        metadata = CallMetadata() if key is None else CallMetadata(key.key, key.secret)
        async with client_of(double, metadata) as client:
            yield Archived(double, client, double.add_thread(key=key))
    finally:
        await double.stop()


@pytest_twisted.async_yield_fixture()
async def hub() -> AsyncIterator[Archived]:
    """A hub with Powergate, which takes from 1 MiB on, and a bucket that has that."""
    async with archived(True, powergate=True) as each:
        each.double.put_files("ddocker", {"blobs/x": b"1" * (3 * MEBIBYTE)})
        yield each


@pytest_twisted.async_yield_fixture()
async def buckd() -> AsyncIterator[Archived]:
    async with archived(False, powergate=True) as each:
        yield each


@pytest_twisted.async_yield_fixture()
async def plain() -> AsyncIterator[Archived]:
    """A hub without Powergate."""
    async with archived(True, powergate=False) as each:
        yield each


@pytest_twisted.ensureDeferred
async def test_start_and_status(hub: Archived) -> None:
    assert await status(hub.service) == {"current": None, "history": []}
    await start(hub.service)
    found = await status(hub.service)
    assert found["history"] == []
    assert found["current"]["state"] == "queued"
    assert found["current"]["cid"] == hub.double.bucket("ddocker").root.cid
    assert found["current"]["created"].startswith("20")
    assert found["current"]["failure"] == ""
    hub.double.set_archive_status("ddocker", FAILED, "no miner\nwants it")
    found = await status(hub.service)
    assert (found["current"]["state"], found["current"]["failure"]) == ("failed", "no miner\\nwants it")
    await start(hub.service)
    found = await status(hub.service)
    assert [each["state"] for each in found["history"]] == ["failed"]
    assert found["current"]["state"] == "queued"


@pytest_twisted.ensureDeferred
async def test_an_archive_that_is_not_needed(hub: Archived) -> None:
    await start(hub.service)
    with pytest.raises(ArchiveNotNeeded, match="still being made"):
        await start(hub.service)
    hub.double.set_archive_status("ddocker", SUCCESS)
    with pytest.raises(ArchiveNotNeeded, match="nothing has changed"):
        await start(hub.service)
    hub.double.put_files("ddocker", {"blobs/z": b"z"})
    await start(hub.service)


@pytest_twisted.ensureDeferred
async def test_no_powergate(plain: Archived) -> None:
    for attempt in (start(plain.service), watch(plain.service, 1, reactor)):
        with pytest.raises(ArchiveRefused, match="no Powergate"):
            await attempt
    # This one does not ask for it.
    assert await status(plain.service) == {"current": None, "history": []}


@pytest_twisted.ensureDeferred
async def test_trap_a_buckd_takes_no_size(buckd: Archived) -> None:
    with pytest.raises(ArchiveRefused, match=r"buckd whose limits for archives were never set"):
        await start(buckd.service)


@pytest_twisted.ensureDeferred
async def test_sizes(hub: Archived) -> None:
    small = hub.more("small")
    with pytest.raises(ArchiveRefused, match=r"too small to be archived .*greater than: 1 MiB"):
        await start(small)
    # The hub's own limit; to reach it the double would have to hash 32 GiB.
    hub.double.faults.refuse("Archive", 2, "archive size is too big, should be less than: 32 GiB")
    with pytest.raises(ArchiveRefused, match=r"too large to be archived .*less than: 32 GiB"):
        await start(hub.service)


@pytest_twisted.ensureDeferred
async def test_an_empty_wallet(hub: Archived) -> None:
    hub.double.world.wallet_empty = True
    with pytest.raises(ArchiveRefused, match="wallet"):
        await start(hub.service)


@pytest_twisted.ensureDeferred
async def test_watch_to_the_end(hub: Archived) -> None:
    await start(hub.service)
    watching = Deferred.fromCoroutine(watch(hub.service, 10, reactor))

    def sent() -> int:
        return sum(call.messages_sent for call in hub.double.calls.of("ArchiveWatch"))

    await eventually(lambda: sent() == 1)
    hub.double.set_archive_status("ddocker", EXECUTING)
    await eventually(lambda: sent() == 2)
    hub.double.set_archive_status("ddocker", SUCCESS)
    found = await watching
    assert found["ended"]
    assert [message.split()[-1] for message in found["messages"]] == ["QUEUED", "EXECUTING", "SUCCESS"]


@pytest_twisted.ensureDeferred
async def test_watch_for_a_while(hub: Archived) -> None:
    await start(hub.service)
    found = await watch(hub.service, 0.15, reactor)
    assert not found["ended"]
    assert len(found["messages"]) == 1
    # The server is told, so that nothing goes on behind the caller's back.
    await eventually(lambda: not hub.double.calls.running())
    assert hub.double.calls.of("ArchiveWatch")[0].cancelled


@pytest_twisted.ensureDeferred
async def test_watch_where_nothing_is(hub: Archived) -> None:
    with pytest.raises(NeverArchived):
        await watch(hub.service, 5, reactor)


@pytest_twisted.ensureDeferred
async def test_a_watch_that_breaks_is_an_outage(hub: Archived) -> None:
    await start(hub.service)
    watching = Deferred.fromCoroutine(watch(hub.service, 10, reactor))
    await eventually(lambda: bool(hub.double.calls.of("ArchiveWatch")))
    hub.double.drop_connections()
    with pytest.raises(Unavailable):
        await watching


@pytest_twisted.ensureDeferred
async def test_several_buckets(hub: Archived) -> None:
    services = [hub.service, hub.more("small")]
    first = await start_all(services)
    assert [each["state"] for each in first] == ["started", "refused"]
    assert [each["bucket"] for each in first] == [service.key for service in services]
    assert "why" not in first[0]
    assert "too small" in first[1]["why"]
    assert [each["state"] for each in await start_all(services)] == ["unchanged", "refused"]
    states = await status_all(services)
    assert states[0]["current"]["state"] == "queued"
    assert states[1] == {"bucket": services[1].key, "current": None, "history": []}
    hub.double.set_archive_status("ddocker", SUCCESS)
    watched = await watch_all(services, 5, reactor)
    assert [each["ended"] for each in watched] == [True, True]
    assert [len(each["messages"]) for each in watched] == [1, 0]
    assert "never archived" in watched[1]["why"]


@pytest_twisted.ensureDeferred
async def test_one_broken_watch_of_several_ends_them_all(hub: Archived) -> None:
    second = hub.more("second")
    hub.double.put_files("second", {"blobs/x": b"2" * (3 * MEBIBYTE)})
    await start_all([hub.service, second])
    hub.double.faults.refuse("ArchiveWatch", 13, "broken", times=1)
    with pytest.raises(Unavailable, match="broken"):
        await watch_all([hub.service, second], 10, reactor)
    await eventually(lambda: not hub.double.calls.running())


@pytest_twisted.ensureDeferred
async def test_tasks(hub: Archived) -> None:
    services = [hub.service]
    assert (await TEXTILE_TASKS["archive-start"](services, {}, reactor))["buckets"][0]["state"] == "started"
    found = await TEXTILE_TASKS["archive-status"](services, {}, reactor)
    assert found["buckets"][0]["current"]["state"] == "queued"
    watched = await TEXTILE_TASKS["archive-watch"](services, {"seconds": "0.1"}, reactor)
    assert not watched["buckets"][0]["ended"]
    with pytest.raises(Refused, match="seconds"):
        await TEXTILE_TASKS["archive-watch"](services, {"seconds": "soon"}, reactor)


def test_deals_and_odd_values() -> None:
    archive = bucketsd_pb2.Archive(
        cid="bafy",
        job_id="job",
        archive_status=9,  # type: ignore[arg-type]
        aborted=True,
        created_at=1 << 62,
        deal_info=[
            bucketsd_pb2.DealInfo(miner="f01", state_name="Active", deal_id=7, size=1 << 40, message="a\x1b[1mb")
        ],
    )
    assert archive_as_json(archive) == {
        "cid": "bafy",
        "job": "job",
        "state": "unknown (9)",
        "created": None,
        "failure": "aborted",
        "deals": [{"miner": "f01", "state": "Active", "deal": 7, "size": 1 << 40, "message": "a\\x1b[1mb"}],
    }


@given(st.lists(st.integers().map(str), unique=True, max_size=20), st.data())
def test_news_of_a_server_that_begins_anew_or_with_the_last_ones(messages: list[str], data: st.DataObject) -> None:
    seen = messages[: data.draw(st.integers(0, len(messages)))]
    again = messages[data.draw(st.integers(0, len(seen))) :]
    assert [*seen, *news(seen, again)] == messages


def test_a_message_that_comes_twice_in_one_watch_is_news() -> None:
    assert news([], ["a", "a"]) == ["a", "a"]
    assert news(["a"], ["a", "a", "b"]) == ["a", "b"]
    assert news(["a", "b"], ["c"]) == ["c"]
