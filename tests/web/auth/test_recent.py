"""Who was let in a moment ago is let in again without a question, and not for longer than it is so."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted

from ipfsreg.access.authority import Authority
from ipfsreg.access.identity import Action, Kind, User
from ipfsreg.access.robots import RobotsFile
from ipfsreg.web.auth.recent import Recent
from ipfsreg.web.http.head import Fields, Head
from ipfsreg.web.http.request import Request, RequestChannel
from tests.access.helpers import PASSWORD
from tests.web.pages.visiting import Visitor
from tests.web.served import Serve

from .guarded import Guarded, basic, bearer, guarded

ALICE = User("alice", Kind.PASSWORD)
PULL = (Action.PULL, "team/app")


@dataclass
class Files:
    """As much of an authority as matters here."""

    epoch: int = 0
    is_due: bool = False


def asked(fields: Fields | None = None) -> Request:
    """A request with these fields, or with some that nobody has sent."""
    head = Head(b"GET", b"/", fields or Fields(is_1_1=True, headers={}))
    return Request(cast(RequestChannel, None), head)


class World:
    def __init__(self) -> None:
        self.files = Files()
        self.time = 1000.0
        self.recent = self.made()
        self.fields = Fields(is_1_1=True, headers={})

    def made(self) -> Recent:
        return Recent(cast(Authority, self.files), lambda: self.time)

    def admits(self, action: Action, repository: str) -> User | None:
        return self.recent.admits(asked(self.fields), action, repository)

    def remember(self, user: User, action: Action, repository: str) -> None:
        self.recent.remember(asked(self.fields), user, action, repository)


@pytest.fixture
def world() -> World:
    return World()


def test_the_same_again_is_known_and_nothing_else_is(world: World) -> None:
    assert world.admits(*PULL) is None
    world.remember(ALICE, *PULL)
    assert world.admits(*PULL) is ALICE
    assert world.admits(Action.PUSH, "team/app") is None
    assert world.admits(Action.PULL, "team/other") is None
    assert world.recent.admits(asked(), *PULL) is None
    assert world.made().admits(asked(world.fields), *PULL) is None  # what a session may is another gate's matter
    world.remember(replace(ALICE, name="bob"), Action.PULL, "team/other")
    assert world.admits(*PULL) is None


def test_nothing_outlasts_a_look_at_the_files(world: World) -> None:
    world.remember(ALICE, *PULL)
    world.files.is_due = True
    assert world.admits(*PULL) is None
    world.files.epoch, world.files.is_due = 1, False
    assert world.admits(*PULL) is None
    world.remember(ALICE, Action.PUSH, "team/app")
    assert world.admits(*PULL) is None


def test_what_ends_meanwhile_is_not_good_any_more(world: World) -> None:
    world.remember(replace(ALICE, expires=1000.5), *PULL)
    assert world.admits(*PULL)
    world.time = 1000.5
    assert world.admits(*PULL) is None


def test_it_is_bounded(world: World) -> None:
    for number in range(1000):
        world.remember(ALICE, Action.PULL, f"team/{number}")
        assert world.admits(Action.PULL, f"team/{number}")
    assert sum(world.admits(Action.PULL, f"team/{number}") is not None for number in range(1000)) <= 64


@pytest_twisted.async_yield_fixture()
async def daemon(serve: Serve, tmp_path: Path) -> AsyncIterator[Guarded]:
    started = await guarded(serve, tmp_path)
    await started.push_image("team/app", "1", b"layer", basic("writer"))
    yield started


@pytest_twisted.ensureDeferred
async def test_files_that_are_read_anew_on_sighup_count_at_once(daemon: Guarded, tmp_path: Path) -> None:
    """The connections are the same ones, so that what was said before is remembered."""
    target = "/v2/team/app/tags/list"
    token = await daemon.token("reader", "repository:team/app:pull")
    everybody = [
        (await daemon.served.connect(), who)
        for who in (basic("reader"), bearer(token), basic("robot+ci", daemon.robot))
    ]

    async def statuses() -> list[int]:
        return [(await connection.ask("GET", target, who)).status for connection, who in everybody]

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
    connection = await daemon.served.connect()
    for _ in range(2):
        assert (await connection.ask("GET", target, who)).status == 200
    file = daemon.served.directory / "ipfsreg.ini"
    file.write_text(file.read_text().replace("allow @staff", "deny  @staff"))
    await daemon.authority.reload()
    assert (await connection.ask("GET", target, who)).status == 403


@pytest_twisted.ensureDeferred
async def test_one_connection_has_many_users_behind_a_proxy(daemon: Guarded) -> None:
    """Each request is its own user's, in whatever order they come, and none is answered by who asked before."""
    connection = await daemon.served.connect()
    asked = [
        ({}, 401),
        (basic("reader"), 200),
        (basic("admin"), 403),
        (basic("reader", "wrong"), 401),
        (basic("robot+ci", daemon.robot), 200),
    ]
    for number in range(4):
        for who, status in asked * 2 if number % 2 else asked[::-1]:
            client = {"X-Forwarded-For": f"10.1.{number}.{status % 256}", **who}
            answer = await connection.ask("GET", "/v2/team/app/tags/list", client)
            assert answer.status == status


@pytest_twisted.ensureDeferred
async def test_a_session_of_pages_opens_nothing_of_the_api_on_the_same_connection(daemon: Guarded) -> None:
    visitor = Visitor(daemon.served, "10.2.0.1")
    await visitor.sign_in("reader", PASSWORD)
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    browser = {"Cookie": cookies, "Accept": "text/html"}
    connection = await daemon.served.connect()
    for _ in range(2):
        assert (await connection.ask("GET", "/repositories/team/app", browser)).status == 200
        assert (await connection.ask("GET", "/v2/team/app/tags/list", browser)).status == 401
