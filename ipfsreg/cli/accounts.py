"""Who has access: ``ipfsreg user``, ``token`` and ``access``. They need no daemon; one that runs takes notice."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ipfsreg.access.errors import AccessFileError
from ipfsreg.access.htpasswd import PASSWORD_MAX, ROBOT, parse_htpasswd
from ipfsreg.access.identity import ANONYMOUS, REPOSITORY_ACTIONS, Action, Kind, User
from ipfsreg.access.rules import Verdict, parse_actions, parse_rules
from ipfsreg.bucket.errors import SetupError

from .command import config_option, fail, in_one_line, load
from .errors import Exit
from .terminal.asking import ask_secret
from .terminal.declare import group
from .terminal.output import Output
from .terminal.table import Column, Table
from .upkeep import Time

if TYPE_CHECKING:
    from ipfsreg.access.htpasswd_file import HtpasswdFile
    from ipfsreg.access.robots import Robot, RobotsFile
    from ipfsreg.config.sections import Config


class Actions(click.ParamType):
    """A list of actions."""

    name = "actions"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[Action]:
        """See click."""
        try:
            return value if isinstance(value, frozenset) else parse_actions(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@group
def token() -> None:
    """Robot accounts: names with a secret, for machines that push and pull."""


@token.command(
    short_help="Make a robot, and print its secret once.",
    examples=[
        "ipfsreg token create ci --repositories 'team/*' --actions pull,push --expires 90d",
        "ipfsreg token create ci | docker login --username robot+ci --password-stdin registry.example",
    ],
    result="{name, secret, expires}",
)
@config_option
@click.argument("name")
@click.option(
    "--repositories",
    help="What it is for: names separated by commas, * for any characters but /, ** for any. Without it, only what the "
    "rules of [access] say.",
)
@click.option("--actions", type=Actions(), help="pull, push, delete, separated by commas; pull if nothing is said.")
@click.option("--expires", type=Time(), help="After how long it ends, such as 90d; never if nothing is said.")
def create(
    path: Path | None,
    name: str,
    repositories: str | None,
    actions: frozenset[Action] | None,
    expires: float | None,
    output: Output,
) -> None:
    """Make the robot NAME and print its secret, which is shown this once. Clients log in as robot+NAME with it."""
    if actions and repositories is None:
        fail("--actions goes with --repositories; what else a robot may do is for the rules of [access]")
    name = name.removeprefix(ROBOT)
    patterns = tuple(each.strip() for each in (repositories or "").split(",") if each.strip())
    granted = (actions or frozenset({Action.PULL})) if patterns else frozenset()
    now = time.time()
    until = None if expires is None else now + expires
    with _robots(load(path)) as file:
        secret = file.create(name, patterns, granted, now, until)
    output.note(f"{ROBOT}{name} can log in from now on; its password is shown this once:")
    output.show(
        {"name": f"{ROBOT}{name}", "secret": secret, "expires": None if until is None else _time(until)}, secret
    )


@token.command(
    "list",
    examples=["ipfsreg token list", "ipfsreg token list --json"],
    result="{robots: [{name, repositories: [pattern], actions: [action], created, expires}]}",
)
@config_option
def list_(path: Path | None, output: Output) -> None:
    """List the robots: what they are for, and until when."""
    with _robots(load(path)) as file:
        robots = file.all()
    if not robots:
        output.note("There are no robots.")
    document = [
        {
            "name": f"{ROBOT}{robot.name}",
            "repositories": list(robot.repositories),
            "actions": [action.value for action in robot.actions] if robot.repositories else [],
            "created": _time(robot.created),
            "expires": None if robot.expires is None else _time(robot.expires),
        }
        for robot in robots
    ]
    columns: list[str | Column] = ["NAME", "ACTIONS", Column("REPOSITORIES", long=True), "SINCE", "UNTIL"]
    output.show({"robots": document}, *([Table(columns, map(_robot, robots))] if robots else []))


def _robot(robot: "Robot") -> Sequence[str | None]:
    what = ",".join(action.value for action in robot.actions) if robot.repositories else "by the rules"
    end = None if robot.expires is None else _day(robot.expires)
    if robot.expires is not None and robot.expires <= time.time():
        end = f"{end} (over)"
    return [f"{ROBOT}{robot.name}", what, ",".join(robot.repositories) or None, _day(robot.created), end]


@token.command(examples=["ipfsreg token revoke ci"], result="{name}")
@config_option
@click.argument("name")
def revoke(path: Path | None, name: str, output: Output) -> None:
    """Take the robot NAME away. A daemon that runs lets it in no more from the next second on."""
    name = name.removeprefix(ROBOT)
    with _robots(load(path)) as file:
        file.revoke(name)
    output.show({"name": f"{ROBOT}{name}"}, f"{ROBOT}{name} is gone.")


@group
def user() -> None:
    """Users with a password: the file of [auth] htpasswd."""


_from_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@user.command(
    examples=["ipfsreg user add alice", 'printf %s "$PASSWORD" | ipfsreg user add bob --password-stdin'],
    result="{names: [name]}",
)
@config_option
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_from_stdin
def add(path: Path | None, names: tuple[str, ...], password_stdin: bool, output: Output) -> None:
    """Add the users NAME; the passwords are asked for. What they may is for the rules of [access] to say."""
    if password_stdin and len(names) > 1:
        fail("--password-stdin is for one user")
    with _users(path) as file:
        for name in names:
            file.check_new(name)
        for name in names:
            file.add(name, _password(name, password_stdin))
            output.note(f"{name} can log in from now on.")
    output.show({"names": list(names)})


@user.command(examples=["ipfsreg user password alice"], result="{name}")
@config_option
@click.argument("name")
@_from_stdin
def password(path: Path | None, name: str, password_stdin: bool, output: Output) -> None:
    """Give the user NAME another password. Logins with the old one end."""
    with _users(path) as file:
        file.check_known(name)
        file.set_password(name, _password(name, password_stdin))
    output.note(f"{name} has another password.")
    output.show({"name": name})


@user.command(examples=["ipfsreg user remove bob"], result="{name}")
@config_option
@click.argument("name")
def remove(path: Path | None, name: str, output: Output) -> None:
    """Take the user NAME away. A daemon that runs lets them in no more from the next second on."""
    with _users(path) as file:
        file.remove(name)
    output.show({"name": name}, f"{name} is gone.")


@user.command("list", examples=["ipfsreg user list"], result="{users: [name]}")
@config_option
def list_users(path: Path | None, output: Output) -> None:
    """List the users."""
    with _users(path) as file:
        names = file.names()
    output.show({"users": names}, *names)


@contextmanager
def _users(path: Path | None) -> "Iterator[HtpasswdFile]":
    from ipfsreg.access.htpasswd_file import HtpasswdFile

    config = load(path)
    file = config.auth.htpasswd
    if file is None:
        fail(f"{config.name} names no file for users: add htpasswd = FILE to its section [auth]")
    if not file.parent.is_dir():
        fail(f"the directory {file.parent} is not there; make it, or change [auth] htpasswd", Exit.PROBLEM)
    with in_one_line(AccessFileError):
        yield HtpasswdFile(file)


def _password(name: str, from_stdin: bool) -> str:
    if from_stdin:
        given = sys.stdin.buffer.read(PASSWORD_MAX + 2).decode("utf-8", "surrogateescape")
        return given.removesuffix("\n").removesuffix("\r")
    return ask_secret(f"Password of {name}", "--password-stdin reads it from standard input")


@group
def access() -> None:
    """What the rules of [access] mean."""


@access.command(
    "check",
    examples=["ipfsreg access check alice team/app push", "ipfsreg access check anonymous catalog"],
    result="{allowed, reason}",
)
@config_option
@click.option("--group", "groups", multiple=True, help="A group that the user's issuer says, such as github+acme.")
@click.argument("user")
@click.argument("what", nargs=-1, required=True, metavar="[REPOSITORY] ACTION")
def check_(path: Path | None, groups: tuple[str, ...], user: str, what: tuple[str, ...], output: Output) -> None:
    """Say whether USER may do ACTION to REPOSITORY, and by which rule.

    The exit status is 0 where USER may, 1 where not, and 2 where the question or the configuration is wrong. Without
    rules everybody may do everything.

    USER is a name as rules have it, such as alice or robot+ci, or anonymous. ACTION is pull, push or delete; catalog
    and admin concern no repository.
    """
    config = load(path)
    *where, word = what
    try:
        (action,) = parse_actions(word)
    except ValueError:
        fail(f"{word!r} is not one of {', '.join(action.value for action in Action)}")
    if len(where) != (action in REPOSITORY_ACTIONS):
        fail(f"{word} {'needs one' if action in REPOSITORY_ACTIONS else 'concerns no'} repository")
    if config.access.rules is None:
        reason = f"{config.name} has no rules in [access], so everybody may do everything"
        verdict = Verdict(True, None, reason)
    else:
        asker = _user(config, user, frozenset(groups))
        verdict = parse_rules(config.access.rules).decide(asker, action, where[0] if where else None)
    document = {"allowed": bool(verdict), "reason": verdict.reason}
    output.show(document, f"{'allowed' if verdict else 'denied'}: {verdict.reason}")
    if not verdict:
        sys.exit(Exit.PROBLEM)


def _user(config: "Config", name: str, groups: frozenset[str]) -> User:
    from ipfsreg.access.robots import NO_ROBOTS, parse_robots
    from ipfsreg.access.watched import load_file
    from ipfsreg.app.access_config import robots_path

    if name == "anonymous":
        return ANONYMOUS
    with in_one_line(AccessFileError):
        if name.startswith(ROBOT):
            robot = load_file(robots_path(config), parse_robots, NO_ROBOTS).find(name)
            if robot is None:
                fail(f"there is no {name}")
            return robot
        if config.auth.htpasswd and "+" not in name:
            if load_file(config.auth.htpasswd, parse_htpasswd).find(name) is None:
                click.echo(f"ipfsreg: {name} is not in {config.auth.htpasswd}", err=True)
            return User(name, Kind.PASSWORD)
    return User(name, Kind.TOKEN if "+" in name else Kind.CERTIFICATE, groups)


@contextmanager
def _robots(config: "Config") -> "Iterator[RobotsFile]":
    from ipfsreg.access.robots import RobotsFile
    from ipfsreg.app.access_config import robots_path
    from ipfsreg.app.state_directory import check_user

    file = robots_path(config)
    try:
        if not file.parent.is_dir():
            raise AccessFileError(
                f"the directory {file.parent} is not there: start the daemon once, or change [auth] robots"
            )
        check_user(file.parent)
        yield RobotsFile(file)
    except OSError as error:
        fail(f"{file}: {error.strerror}", Exit.PROBLEM)
    except (AccessFileError, SetupError) as error:
        fail(str(error), Exit.PROBLEM)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
