"""Who was let in a moment ago is let in again without a question, and not for longer than it is so."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted

from ipfsreg.access.authority import Authority
from ipfsreg.access.identity import Action, Kind, User
from ipfsreg.access.robots import RobotsFile
from ipfsreg.web.auth import recent
from ipfsreg.web.auth.recent import Recent
from ipfsreg.web.http.request import Request
from tests.web.served import Serve

from .guarded import Guarded, basic, bearer, guarded

ALICE = User("alice", Kind.PASSWORD)
HERE = "192.0.2.1"
PULL = (Action.PULL, "team/app")


@dataclass
class Files:
    """As much of an authority as matters here."""

    epoch: int = 0
    is_due: bool = False


@dataclass
class Asked:
    """As much of a request as matters here."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    certificate: bytes | None = None

    def client_certificate(self) -> bytes | None:
        return self.certificate


def asked(credentials: bytes | None = b"Basic YTpi", certificate: bytes | None = None) -> Request:
    headers = {} if credentials is None else {b"authorization": credentials}
    return cast(Request, Asked(headers, certificate))


class World:
    def __init__(self) -> None:
        self.files = Files()
        self.time = 1000.0
        self.recent = Recent(cast(Authority, self.files), lambda: self.time)


@pytest.fixture
def world() -> World:
    return World()


def test_the_same_again_is_known_and_nothing_else_is(world: World) -> None:
    assert world.recent.admits(asked(), HERE, *PULL) is None
    world.recent.remember(asked(), HERE, ALICE, *PULL)
    assert world.recent.admits(asked(), HERE, *PULL) is ALICE
    assert world.recent.admits(asked(), HERE, Action.PUSH, "team/app") is None
    assert world.recent.admits(asked(), HERE, Action.PULL, "team/other") is None
    assert world.recent.admits(asked(), "192.0.2.2", *PULL) is None
    assert world.recent.admits(asked(b"Basic YTpi "), HERE, *PULL) is None
    assert world.recent.admits(asked(None), HERE, *PULL) is None


def test_no_header_is_taken_for_a_certificate_and_no_end_of_an_address_for_its_beginning(world: World) -> None:
    world.recent.remember(asked(None, b"DER"), HERE, ALICE, *PULL)
    assert world.recent.admits(asked(None, b"DER"), HERE, *PULL) is ALICE
    for other in (b"DER", b"\rDER", b"-DER"):
        assert world.recent.admits(asked(other), HERE, *PULL) is None
    assert world.recent.admits(asked(None, b"1DER"), HERE[:-1], *PULL) is None


def test_nothing_outlasts_a_look_at_the_files(world: World) -> None:
    world.recent.remember(asked(), HERE, ALICE, *PULL)
    world.files.is_due = True
    assert world.recent.admits(asked(), HERE, *PULL) is None
    world.files.epoch, world.files.is_due = 1, False
    assert world.recent.admits(asked(), HERE, *PULL) is None
    world.recent.remember(asked(), HERE, ALICE, Action.PUSH, "team/app")
    assert world.recent.admits(asked(), HERE, *PULL) is None


def test_what_ends_meanwhile_is_not_good_any_more(world: World) -> None:
    world.recent.remember(asked(), HERE, replace(ALICE, expires=1000.5), *PULL)
    assert world.recent.admits(asked(), HERE, *PULL)
    world.time = 1000.5
    assert world.recent.admits(asked(), HERE, *PULL) is None


def test_it_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MOST", 10)
    for number in range(1000):
        world.recent.remember(asked(b"%d" % number), HERE, ALICE, *PULL)
        world.recent.remember(asked(), HERE, ALICE, Action.PULL, f"team/{number}")
        assert world.recent.admits(asked(), HERE, Action.PULL, f"team/{number}")
    assert len(world.recent._known) <= 10
    assert all(len(each.to) <= 64 for each in world.recent._known.values())


@pytest_twisted.async_yield_fixture()
async def daemon(serve: Serve, tmp_path: Path) -> AsyncIterator[Guarded]:
    started = await guarded(serve, tmp_path)
    await started.push_image("team/app", "1", b"layer", basic("writer"))
    yield started


@pytest_twisted.ensureDeferred
async def test_files_that_are_read_anew_on_sighup_count_at_once(daemon: Guarded, tmp_path: Path) -> None:
    """The address is one, so that what was said before is remembered."""
    target = "/v2/team/app/tags/list"
    token = await daemon.token("reader", "repository:team/app:pull")
    everybody = [basic("reader"), bearer(token), basic("robot+ci", daemon.robot)]

    async def statuses() -> list[int]:
        return [(await daemon.served.ask("GET", target, who)).status for who in everybody]

    assert await statuses() == await statuses() == [200, 200, 200]
    users = tmp_path / "htpasswd"
    users.write_text(users.read_text().replace("reader:", "other:"))
    RobotsFile(tmp_path / "robots.json").revoke("ci")
    (reloadable,) = daemon.served.daemon.reloadables
    assert await reloadable.reload() == "3 files of access control were looked at"
    assert await statuses() == [401, 401, 401]


@pytest_twisted.ensureDeferred
async def test_rules_that_were_read_anew_count_for_who_was_let_in_before(daemon: Guarded) -> None:
    target, who = "/v2/team/app/tags/list", basic("reader")
    for _ in range(2):
        assert (await daemon.served.ask("GET", target, who)).status == 200
    file = daemon.served.directory / "ipfsreg.ini"
    file.write_text(file.read_text().replace("allow @staff", "deny  @staff"))
    await daemon.authority.reload()
    assert (await daemon.served.ask("GET", target, who)).status == 403
