"""``[limits]`` of connections and requests."""

from pathlib import Path

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent

from ipfsreg.web.request_rate import BURST_SECONDS, CLIENTS_REMEMBERED, RequestRate

from .client import pause
from .served import Serve, digest_of


@pytest.mark.parametrize("option", ["connections", "connections_per_address"])
@pytest_twisted.ensureDeferred
async def test_a_connection_above_the_bound_is_told_so(serve: Serve, log: list[LogEvent], option: str) -> None:
    served = await serve(limits={option: "2"})
    held = [await served.connect() for _ in range(2)]
    for each in held:
        assert (await each.ask("GET", "/livez")).status == 200
    for _ in range(20):
        refused = await served.connect()
        answer = await refused.ask("GET", "/livez")
        assert answer.error == (503, "UNAVAILABLE")
        assert int(answer["retry-after"]) > 0
        refused.close()
    # Those that were there go on, and who leaves makes room.
    for each in held:
        assert (await each.ask("GET", "/livez")).status == 200
    held[0].close()
    await pause(0.05)
    assert (await served.ask("GET", "/livez")).status == 200
    said = [formatEvent(event) or "" for event in log]
    assert len([line for line in said if f"[limits] {option} is 2" in line]) == 1


@pytest_twisted.ensureDeferred
async def test_a_refused_client_that_says_nothing_is_dropped(serve: Serve) -> None:
    served = await serve(limits={"connections": "1"})
    held = await served.connect()
    assert (await held.ask("GET", "/livez")).status == 200
    refused = await served.connect()
    for _ in range(400):
        if refused.is_closed:
            break
        await pause(0.01)
    assert refused.is_closed
    await served.daemon.stopService()


@pytest_twisted.ensureDeferred
async def test_a_trusted_proxy_is_many_clients(serve: Serve) -> None:
    served = await serve(registry={"trusted_proxies": "127.0.0.1"}, limits={"connections_per_address": "1"})
    for each in [await served.connect() for _ in range(3)]:
        assert (await each.ask("GET", "/livez")).status == 200


@pytest_twisted.ensureDeferred
async def test_requests_above_the_rate_are_answered_429(serve: Serve) -> None:
    served = await serve(registry={"trusted_proxies": "127.0.0.1"}, limits={"requests": "0.2"})  # two at once
    one, other = ({"X-Forwarded-For": address} for address in ("10.0.0.1", "10.0.0.2"))
    statuses = [(await served.ask("GET", "/v2/", one)).status for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    answer = await served.ask("POST", "/v2/box/blobs/uploads/", one, b"x" * 100_000)
    assert answer.error == (429, "TOOMANYREQUESTS")
    assert 1 <= int(answer["retry-after"]) <= 5
    assert (await served.ask("GET", "/v2/", other)).status == 200


@given(st.lists(st.floats(0, 3)), st.floats(0.01, 50))
def test_no_client_has_more_than_its_rate(pauses: list[float], rate: float) -> None:
    clock = Clock()
    bucket = RequestRate(rate, clock.seconds)
    answered = 0
    for each in pauses:
        clock.advance(each)
        wait = bucket.wait("10.0.0.1")
        answered += not wait
        if wait:
            clock.advance(wait * 1.0001)
            assert not bucket.wait("10.0.0.1")  # who waits as long as it is told is answered
            answered += 1
    assert answered <= max(1, rate * BURST_SECONDS) + clock.seconds() * rate + 1e-6


def test_the_table_of_clients_is_bounded() -> None:
    rate = RequestRate(1, Clock().seconds)
    for number in range(CLIENTS_REMEMBERED + 100):
        assert rate.wait(str(number)) == 0
    assert len(rate._buckets) == CLIENTS_REMEMBERED


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("connections", "0"),
        ("requests", "0"),
        ("requests", "nan"),
        ("requests", "1e-320"),
        ("total_size", "-1"),
        ("connection", "1"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_limit_is_refused_by_name(serve: Serve, tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(Exception, match=rf"\[limits\] {option}: "):
        await serve(limits={option: value})


@pytest_twisted.ensureDeferred
async def test_how_long_and_how_many_headers_may_be(serve: Serve) -> None:
    served = await serve(limits={"header_size": "100KiB", "headers": "60"})
    long = {"X-Long": "x" * 90_000}
    assert (await served.ask("GET", "/livez", long)).status == 200
    refused = await served.ask("GET", "/livez", {**long, "X-More": "x" * 20_000})
    assert refused.status == 431
    assert "102400 bytes" in refused.json()["errors"][0]["message"]
    many = {f"X-{number}": "x" for number in range(55)}
    assert (await served.ask("GET", "/livez", many)).status == 200
    refused = await served.ask("GET", "/livez", {**many, **{f"Y-{number}": "x" for number in range(10)}})
    assert refused.status == 431
    assert "60 headers" in refused.json()["errors"][0]["message"]


@pytest_twisted.ensureDeferred
async def test_how_many_tags_one_push_may_set(serve: Serve) -> None:
    served = await serve(limits={"tags": "10"})
    manifest = await served.push_image("1")
    digest = digest_of(manifest)
    for count, status in ((10, 201), (11, 414)):
        tags = "&".join(f"tag=t{number}" for number in range(count))
        answer = await served.push(manifest, f"{digest}?{tags}")
        assert answer.status == status
