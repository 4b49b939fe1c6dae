"""Robot accounts: what the file has, and what commands do to it."""

import json
import stat
import threading
from pathlib import Path

import pytest

from ipfsreg.access.errors import AccessFileError
from ipfsreg.access.identity import Action, Kind
from ipfsreg.access.robots import NO_ROBOTS, ROBOTS_MAX, RobotsFile, parse_robots

from .helpers import TODAY

PULL_PUSH = frozenset({Action.PULL, Action.PUSH})


@pytest.fixture
def file(tmp_path: Path) -> RobotsFile:
    return RobotsFile(tmp_path / "robots.json")


def test_a_secret_is_shown_once_and_stored_hashed(file: RobotsFile, tmp_path: Path) -> None:
    secret = file.create("ci", ("team/*", "shared"), PULL_PUSH, TODAY, TODAY + 60)
    assert secret.startswith("ipfsreg_")
    assert len(secret) > 50
    content = (tmp_path / "robots.json").read_bytes()
    assert secret.encode() not in content
    assert stat.S_IMODE((tmp_path / "robots.json").stat().st_mode) == 0o600
    robots = parse_robots(content)
    user = robots.check("robot+ci", secret)
    assert user is not None
    assert user == robots.find("robot+ci")
    assert (user.name, user.kind, user.expires) == ("robot+ci", Kind.ROBOT, TODAY + 60)
    assert user.grants is not None
    assert any(grant.covers(Action.PUSH, "team/x") for grant in user.grants)
    assert not any(grant.covers(Action.DELETE, "team/x") for grant in user.grants)
    assert not any(grant.covers(Action.PUSH, "other") for grant in user.grants)
    for name, wrong in (
        ("robot+ci", secret[:-1]),
        ("robot+ci", ""),
        ("robot+ci", "\udcff"),
        ("ci", secret),
        ("robot+x", secret),
    ):
        assert robots.check(name, wrong) is None
    (robot,) = file.all()
    assert secret not in repr(robot)
    assert robot.secret_sha256 not in repr(robot)


def test_commands_one_after_the_other(file: RobotsFile) -> None:
    first = file.create("a", (), frozenset(), TODAY, None)
    file.create("b", ("**",), PULL_PUSH, TODAY, None)
    with pytest.raises(AccessFileError, match="there is a robot a already; revoke it first"):
        file.create("a", (), frozenset(), TODAY, None)
    assert [robot.name for robot in file.all()] == ["a", "b"]
    file.revoke("a")
    with pytest.raises(AccessFileError, match="there is no robot a in"):
        file.revoke("a")
    assert [robot.name for robot in file.all()] == ["b"]
    assert file.create("a", (), frozenset(), TODAY, None) != first


def test_commands_at_the_same_time_lose_nothing(file: RobotsFile) -> None:
    names = [f"robot{number}" for number in range(12)]
    threads = [threading.Thread(target=file.create, args=(name, (), frozenset(), TODAY, None)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(robot.name for robot in file.all()) == sorted(names)


def test_any_change_gives_a_robot_another_stamp(file: RobotsFile, tmp_path: Path) -> None:
    file.create("ci", ("team/*",), PULL_PUSH, TODAY, None)
    content = (tmp_path / "robots.json").read_text()
    stamps = {parse_robots(content.replace(a, b).encode()).find("robot+ci") for a, b in (("", ""), ("team", "meat"))}
    assert len({user.stamp for user in stamps if user}) == 2


@pytest.mark.parametrize(
    ("name", "repositories", "actions", "line"),
    [
        ("CI", (), frozenset(), "name: String should match pattern"),
        ("a" * 65, (), frozenset(), "name: String should match pattern"),
        ("", (), frozenset(), "name: String should match pattern"),
        ("ci", ("Team",), PULL_PUSH, "'Team' is no pattern of repositories in small letters"),
        ("ci", (), PULL_PUSH, "a robot has repositories and actions, or neither"),
        ("ci", ("a",), frozenset(), "a robot has repositories and actions, or neither"),
    ],
)
def test_what_cannot_be(
    file: RobotsFile, name: str, repositories: tuple[str, ...], actions: frozenset[Action], line: str
) -> None:
    with pytest.raises(AccessFileError) as raised:
        file.create(name, repositories, actions, TODAY, None)
    assert line in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    assert file.all() == []


def test_a_damaged_file_is_not_written_over(file: RobotsFile, tmp_path: Path) -> None:
    (tmp_path / "robots.json").write_text('{"version": 1, "robots": [{"name": "x", "secret_sha256": "hush"}]}')
    for change in (lambda: file.create("a", (), frozenset(), TODAY, None), lambda: file.revoke("x"), file.all):
        with pytest.raises(AccessFileError, match=r"robots\.0") as raised:
            change()
        assert "hush" not in str(raised.value)
    assert "hush" in (tmp_path / "robots.json").read_text()


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AccessFileError, match="No such file or directory"):
        RobotsFile(tmp_path / "nowhere" / "robots.json").create("a", (), frozenset(), TODAY, None)


def test_files_that_are_refused() -> None:
    robot = {"name": "x", "secret_sha256": "0" * 64, "created": 1}
    assert parse_robots(NO_ROBOTS).find("robot+x") is None
    assert parse_robots(json.dumps({"robots": [robot]}).encode()).find("robot+x")
    for content in (
        b"",
        b"[]",
        b"[" * 100_000,
        json.dumps({"version": 2, "robots": []}).encode(),
        json.dumps({"robots": [robot, robot]}).encode(),
        json.dumps({"robots": [{**robot, "more": 1}]}).encode(),
        json.dumps({"robots": [{**robot, "name": f"x{n}"} for n in range(ROBOTS_MAX + 1)]}).encode(),
    ):
        with pytest.raises(ValueError) as raised:
            parse_robots(content)
        assert len(str(raised.value).splitlines()) == 1
