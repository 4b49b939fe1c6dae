"""Access control as a configuration says."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ipfsreg.access.audit import AuditLog
from ipfsreg.access.authority import Authority, Doors
from ipfsreg.access.certificates import parse_certificate_users
from ipfsreg.access.errors import AccessFileError
from ipfsreg.access.htpasswd import parse_htpasswd
from ipfsreg.access.issuers import Fetch, Issuers, parse_issuers
from ipfsreg.access.logins import Logins
from ipfsreg.access.robots import NO_ROBOTS, parse_robots
from ipfsreg.access.rules import Rules, parse_rules
from ipfsreg.access.signing_keys import SigningKeys
from ipfsreg.access.tokens import Tokens, TokenTimes
from ipfsreg.access.watched import WatchedFile, load_file
from ipfsreg.config.errors import ConfigError
from ipfsreg.config.file import options_in
from ipfsreg.config.sections import Config
from ipfsreg.flow.workers import Workers

T = TypeVar("T")


def is_access_controlled(config: Config) -> bool:
    """Whether a configuration has access control, which is where it has rules."""
    return config.access.rules is not None


def robots_path(config: Config) -> Path:
    """Where the robot accounts are."""
    return config.auth.robots or config.backend.state_directory / "robots.json"


def rules_path(config: Config) -> Path:
    """Where the rules are: in the configuration file itself. A daemon goes elsewhere when it leaves the terminal."""
    return Path(config.name).absolute()


def check_access(config: Config) -> None:
    """See that what the configuration itself says of access can be read; its files are not looked at.

    :raises ConfigError: with one line.
    """
    for section, option, text, parse in (
        ("access", "rules", config.access.rules, parse_rules),
        ("auth", "certificate_users", config.auth.certificate_users, parse_certificate_users),
    ):
        try:
            parse(text or "")
        except ValueError as error:
            raise ConfigError(f"{config.name}: [{section}] {option}: {error}") from None
    if config.access.rules is None:
        for section, option in (
            ("auth", "htpasswd"),
            ("auth", "issuers"),
            ("auth", "certificate_users"),
            ("log", "audit"),
        ):
            if getattr(getattr(config, section), option):
                raise ConfigError(f"{config.name}: [{section}] {option} does nothing without rules in [access]")


def make_authority(
    config: Config, workers: Workers, reactor: Any, fetch: Fetch, now: Callable[[], float] = time.time
) -> Authority | None:
    """The authority of a configuration, to be loaded once the state directory is locked; None for no access control.

    Its keys for tokens are `token-keys.json` in the state directory. ``fetch`` gets the keys of other issuers.
    """
    if not is_access_controlled(config):
        return None
    auth, state = config.auth, config.backend.state_directory
    audit = AuditLog(config.log.audit, workers, now) if config.log.audit else None

    def watched(path: Path, parse: Callable[[bytes], T], missing: bytes | None = None) -> WatchedFile[T]:
        return WatchedFile(path, parse, workers, reactor, missing=missing, changed=changed)

    def changed(path: Path) -> None:
        if audit is not None:
            audit.record("configuration", "", "", True, file=str(path))

    issuers = None
    if auth.issuers:
        issuers = Issuers(watched(auth.issuers, parse_issuers), fetch, workers, reactor, now)
    logins = Logins(
        watched(auth.htpasswd, parse_htpasswd) if auth.htpasswd else None,
        watched(robots_path(config), parse_robots, NO_ROBOTS),
        issuers,
        workers,
        reactor,
        now,
    )
    users = parse_certificate_users(auth.certificate_users) if auth.certificate_users.strip() else None
    times = TokenTimes(int(auth.token_lifetime), int(auth.login_lifetime))
    keys = SigningKeys(state / "token-keys.json", workers, now, times.offline)
    tokens = Tokens(keys, auth.service, now, times)
    return Authority(watched(rules_path(config), rules_in), Doors(logins, issuers, users), tokens, audit)


def access_problem(config: Config) -> str | None:
    """Why a daemon could not use the files of its access control, or None; blocks, and makes nothing."""
    if not is_access_controlled(config):
        return None
    try:
        load_file(rules_path(config), rules_in)
        load_file(robots_path(config), parse_robots, NO_ROBOTS)
        if config.auth.htpasswd:
            load_file(config.auth.htpasswd, parse_htpasswd)
        if config.auth.issuers:
            load_file(config.auth.issuers, parse_issuers)
    except AccessFileError as error:
        return str(error)
    return None


def rules_in(content: bytes) -> Rules:
    """The rules that a configuration file has.

    :raises ValueError: where they are gone or cannot be read: nobody means by that that all is forbidden, or allowed.
    """
    try:
        text = options_in("", content).get("access", {}).get("rules")
    except ConfigError as error:
        raise ValueError(str(error).removeprefix(": ")) from None
    if text is None:
        raise ValueError("[access] rules is gone; start the daemon anew for that to count")
    return parse_rules(text)
