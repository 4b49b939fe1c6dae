"""`/events` as a client sees it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.registry.events import recent
from ipfsreg.registry.events.event import EventAction, Origin, Target
from ipfsreg.web import event_stream
from tests.web.auth.guarded import Guarded, basic, bearer, guarded
from tests.web.client import Connection, pause
from tests.web.served import Serve, Served, image


class Listening:
    """A client of `/events`, and what it was told."""

    def __init__(self, connection: Connection, told: bytes) -> None:
        self.connection = connection
        self._text = told.decode()

    async def told(self, number: int) -> list[dict[str, Any]]:
        """The first so many events, each with its ``id`` and ``event``; there are no more."""
        while self._text.count("\ndata: ") < number:
            self._text += (await self.connection.read()).decode()
        found = self._told()
        assert len(found) == number
        return found

    async def rest(self) -> list[dict[str, Any]]:
        """All events until the daemon ended it."""
        while not self._text.endswith("\r\n0\r\n\r\n"):
            self._text += (await self.connection.read()).decode()
        return self._told()

    def _told(self) -> list[dict[str, Any]]:
        found = []
        for block in self._text.replace("\r\n", "\n").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "data" in fields:
                found.append({**json.loads(fields.pop("data")), **fields})
        return found


async def listen(served: Served, target: str = "/events", headers: Mapping[str, object] | None = None) -> Listening:
    connection = await served.connect()
    connection.begin("GET", target, headers)
    beginning = await connection.read()
    while b"retry: 3000" not in beginning:
        beginning += await connection.read()
    assert beginning.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: text/event-stream\r\n" in beginning
    assert b"Cache-Control: no-store\r\n" in beginning
    return Listening(connection, beginning.partition(b"retry: 3000")[2])


@pytest_twisted.ensureDeferred
async def test_what_happens_is_told_as_it_happens(registry: Served) -> None:
    usual, pulls = await listen(registry), await listen(registry, "/events?actions=pull,delete")
    manifest = await registry.push_image("1")
    await registry.ask("GET", "/v2/box/manifests/1")
    await registry.ask("DELETE", "/v2/box/manifests/1")
    blob, pushed, deleted = await usual.told(3)
    assert (blob["event"], blob["action"]) == ("push", "push")
    assert pushed["target"]["tag"] == "1"
    assert pushed["target"]["size"] == len(manifest)
    assert pushed.keys() == {"id", "timestamp", "action", "target", "event"}  # and not who did it, or from where
    assert "url" not in pushed["target"]
    assert deleted["target"] == {"repository": "box", "tag": "1"}
    assert [event["event"] for event in await pulls.told(2)] == ["pull", "delete"]
    assert (await registry.ask("HEAD", "/events")).status == 200
    assert (await registry.ask("GET", "/events?actions=pull,x")).error == (400, "UNSUPPORTED")


@pytest_twisted.ensureDeferred
async def test_a_client_is_kept_and_ends_with_the_daemon(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.05)
    registry = await serve(registry={"idle_timeout": "100ms", "shutdown_grace": "60s"})
    listening = await listen(registry)
    heard = b""
    while heard.count(b"\r\n:\n\n") < 4:
        heard += await listening.connection.read()
    stopping = registry.daemon.stopService()
    await listening.connection.ended(5.0)
    await stopping


@pytest_twisted.ensureDeferred
async def test_one_address_cannot_take_all_places(serve: Serve) -> None:
    registry = await serve(events={"clients": 30}, registry={"trusted_proxies": "127.0.0.1"})
    greedy = [await listen(registry) for _ in range(6)]
    answer = await registry.ask("GET", "/events")
    assert answer.error == (429, "TOOMANYREQUESTS")
    assert "retry-after" in answer
    connection = await registry.connect()
    connection.begin("GET", "/events", {"X-Forwarded-For": "192.0.2.7"})
    assert b" 200 " in await connection.read()
    greedy[0].connection.close()
    await pause(0.05)
    await listen(registry)


@pytest_twisted.ensureDeferred
async def test_clients_that_go_are_forgotten_and_more_than_may_be_are_refused(serve: Serve) -> None:
    """Those too that close their side properly, as browsers do, and are not heard of again."""
    registry = await serve(events={"clients": 2})
    first, second = await listen(registry), await listen(registry)
    second.connection.wire.loseConnection()
    await pause(0.05)
    await listen(registry)
    answer = await registry.ask("GET", "/events")
    assert answer.error == (503, "UNAVAILABLE")
    assert "retry-after" in answer
    first.connection.close()
    await pause(0.05)
    await listen(registry)
    assert (await (await serve(events={"clients": 0})).ask("GET", "/events")).status == 404


@pytest_twisted.ensureDeferred
async def test_a_client_that_takes_nothing_is_sent_away(registry: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "QUEUE_MAX", 5)
    events = registry.daemon.registry.events
    listening = await listen(registry, "/events?actions=pull")
    listening.connection.wire.pauseProducing()
    for number in range(1000):
        events.pulled(Target("box", tag=f"{number:0100000}"), Origin())
        await pause(0)
        if not events.wants(EventAction.PULL):
            break
    assert 5 < number < 999
    listening.connection.wire.resumeProducing()
    text = await listening.connection.read()
    while not text.endswith(b"\r\n0\r\n\r\n"):  # so it knows that it was sent away
        text += await listening.connection.read()
    assert text.count(b"\ndata: ") < number


LOGGED = {"webhooks": {"endpoints": "ci http://127.0.0.1:1/ ignore=push"}}
"""With webhooks there is a log of what happened, also over a restart, whatever these want to know."""


@pytest.mark.parametrize("options", [{}, LOGGED], ids=["in memory", "logged"])
@pytest_twisted.ensureDeferred
async def test_who_comes_back_is_told_what_it_missed(serve: Serve, options: dict[str, Any]) -> None:
    registry = await serve(**options)
    listening = await listen(registry)
    await registry.push_image("1")
    seen = await listening.told(2)
    listening.connection.close()
    for tag in ("2", "3"):
        await registry.push(image(), tag)
    again = await listen(registry, headers={"Last-Event-ID": seen[-1]["id"]})
    assert [event["target"]["tag"] for event in await again.told(2)] == ["2", "3"]
    await registry.push(image(), "4")
    assert [event["target"]["tag"] for event in await again.told(3)] == ["2", "3", "4"]
    by_query = await listen(registry, f"/events?since={seen[0]['id']}")
    assert [event["target"]["tag"] for event in await by_query.told(4)] == ["1", "2", "3", "4"]
    assert (await by_query.told(4))[0]["id"] == seen[1]["id"]
    for junk in ("x", "-1", "9" * 40, "\xb2"):
        await listen(registry, headers={"Last-Event-ID": junk})
    await registry.stop()
    restarted = await serve(local={"path": registry.store}, **options)
    after = await listen(restarted, headers={"Last-Event-ID": seen[-1]["id"]})
    if options:
        assert [event["target"]["tag"] for event in await after.told(3)] == ["2", "3", "4"]
    else:
        assert (await after.told(1))[0]["event"] == "missed"
    await restarted.push(image(), "5")
    assert (await after.told(4 if options else 2))[-1]["target"]["tag"] == "5"


@pytest_twisted.ensureDeferred
async def test_more_was_missed_than_is_remembered(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "RECENT_MAX", 3)
    registry = await serve()
    listening = await listen(registry)
    await registry.push_blob(b"{}")
    for tag in "1234":
        await registry.push(image(), tag)
    ids = [event["id"] for event in await listening.told(5)]
    for place, told in ((0, ["missed", "2", "3", "4"]), (1, ["2", "3", "4"]), (3, ["4"])):
        again = await listen(registry, headers={"Last-Event-ID": ids[place]})
        found = await again.told(len(told))
        assert [event.get("target", {}).get("tag", event["event"]) for event in found] == told


@pytest_twisted.ensureDeferred
async def test_only_what_the_asker_may_pull_is_told(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon: Guarded = await guarded(serve, tmp_path)
    served = daemon.served
    anyone = await listen(served)
    reader = await listen(served, headers=basic("reader"))
    deleter = await listen(served, headers=basic("deleter"))
    await daemon.push_image("secret/app", "1", b"x", basic("owner"))
    await daemon.push_image("team/app", "1", b"x", basic("writer"))
    await daemon.push_image("public/app", "1", b"x", basic("deleter"))

    async def repositories(listening: Listening, number: int) -> set[str]:
        return {event["target"]["repository"] for event in await listening.told(number)}

    assert await repositories(anyone, 3) == {"public/app"}
    assert await repositories(reader, 6) == {"public/app", "team/app"}
    assert await repositories(deleter, 9) == {"public/app", "team/app", "secret/app"}
    assert (await daemon.ask("GET", "/events", basic("reader", "wrong"))).status == 401


@pytest_twisted.ensureDeferred
async def test_who_may_listen_is_asked_while_events_come_too(serve: Serve, tmp_path: Path) -> None:
    """No pause is needed for a rule or an account to be gone: there may never be one."""
    daemon: Guarded = await guarded(serve, tmp_path)
    served = daemon.served
    reader = await listen(served, headers=basic("reader"))
    await daemon.push_image("team/app", "1", b"x", basic("writer"))
    await reader.told(3)
    file = served.directory / "ipfsreg.ini"
    file.write_text(file.read_text().replace("allow @staff   pull            team/**", "allow @staff   pull   ipfs/*"))
    await daemon.authority.reload()
    await daemon.push_image("team/app", "2", b"x", basic("deleter"))
    await daemon.push_image("public/app", "1", b"x", basic("deleter"))
    assert {event["target"]["repository"] for event in (await reader.told(6))[3:]} == {"public/app"}
    users = tmp_path / "htpasswd"
    users.write_text(users.read_text().replace("reader:", "other:"))
    await daemon.authority.reload()
    await daemon.push_image("public/app", "2", b"x", basic("deleter"))
    assert len(await reader.rest()) == 6


@pytest_twisted.ensureDeferred
async def test_a_token_that_runs_out_ends_it_while_events_come(serve: Serve, tmp_path: Path) -> None:
    daemon: Guarded = await guarded(serve, tmp_path)
    token = await daemon.token("reader", "repository:public/app:pull", seconds=1.01)
    reader = await listen(daemon.served, headers=bearer(token))
    await daemon.push_image("public/app", "1", b"x", basic("deleter"))
    await reader.told(3)
    await pause(1.1)
    await daemon.push_image("public/app", "2", b"x", basic("deleter"))
    assert len(await reader.rest()) == 3
