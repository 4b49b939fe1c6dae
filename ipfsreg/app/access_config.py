"""What a configuration says of access control, as far as it is needed to read a configuration and to check it.

The libraries for passwords, tokens and certificates take long to load, so they are loaded where they are used.
"""

from pathlib import Path

from ipfsreg.access.errors import AccessFileError
from ipfsreg.access.rules import Rules, parse_rules
from ipfsreg.access.watched import load_file
from ipfsreg.config.errors import ConfigError
from ipfsreg.config.file import options_in
from ipfsreg.config.sections import Config


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
    auth, option = config.auth, "[access] rules"
    try:
        parse_rules(config.access.rules or "")
        if auth.certificate_users:
            from ipfsreg.access.certificates import parse_certificate_users

            option = "[auth] certificate_users"
            parse_certificate_users(auth.certificate_users)
    except ValueError as error:
        raise ConfigError(f"{config.name}: {option}: {error}") from None
    idle = {
        "[auth] htpasswd": auth.htpasswd,
        "[auth] issuers": auth.issuers,
        "[auth] certificate_users": auth.certificate_users,
        "[log] audit": config.log.audit,
    }
    for option, value in idle.items():
        if value and not is_access_controlled(config):
            raise ConfigError(f"{config.name}: {option} does nothing without rules in [access]")


def access_problem(config: Config) -> str | None:
    """Why a daemon could not use the files of its access control, or None; blocks, and makes nothing."""
    if not is_access_controlled(config):
        return None
    from ipfsreg.access.htpasswd import parse_htpasswd
    from ipfsreg.access.issuers import parse_issuers
    from ipfsreg.access.robots import NO_ROBOTS, parse_robots

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
