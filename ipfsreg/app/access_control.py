"""Access control as a configuration says."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ipfsreg.access.audit import AuditLog
from ipfsreg.access.authority import Authority, IdentityProviders
from ipfsreg.access.certificates import parse_certificate_users
from ipfsreg.access.htpasswd import parse_htpasswd
from ipfsreg.access.identity import ANONYMOUS
from ipfsreg.access.issuers import Fetch, Issuers, parse_issuers
from ipfsreg.access.logins import Logins
from ipfsreg.access.robots import NO_ROBOTS, parse_robots
from ipfsreg.access.sessions import Sessions
from ipfsreg.access.signing_keys import SigningKeys
from ipfsreg.access.tokens import Tokens, TokenTimes
from ipfsreg.access.watched import WatchedFile
from ipfsreg.config.sections import Config
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.events.event import Event, EventAction
from ipfsreg.registry.events.events import Events

from .access_config import robots_path, rules_in, rules_path

T = TypeVar("T")


def audit_events(events: Events, authority: Authority) -> None:
    """Have what is pushed, mounted and deleted in the audit log: manifests, and blobs."""

    def note(event: Event) -> None:
        target, origin = event.target, event.origin
        authority.record(
            event.action.value,
            origin.user or ANONYMOUS,
            origin.address,
            repository=target.repository,
            reference=" ".join(str(each) for each in (target.digest, target.tag) if each),
            request=origin.request,
        )

    events.subscribe(note, {EventAction.PUSH, EventAction.MOUNT, EventAction.DELETE})


def make_authority(
    config: Config, workers: Workers, reactor: Any, fetch: Fetch, now: Callable[[], float] = time.time
) -> Authority:
    """The authority of a configuration that has rules, to be loaded once the state directory is locked.

    Its keys for tokens are `token-keys.json` in the state directory, and the sessions of browsers `sessions.json`.
    ``fetch`` gets the keys of other issuers.
    """
    auth, state = config.auth, config.backend.state_directory
    audit = AuditLog(config.log.audit, workers, now) if config.log.audit else None

    def watched(path: Path, parse: Callable[[bytes], T], missing: bytes | None = None) -> WatchedFile[T]:
        return WatchedFile(path, parse, workers, reactor, missing=missing, changed=changed)

    def changed(path: Path) -> None:
        if audit is not None:
            audit.record("configuration", "", "", allowed=True, file=str(path))

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
    providers = IdentityProviders(logins, issuers, users)
    sessions = Sessions(state / "sessions.json", workers, now)
    return Authority(watched(rules_path(config), rules_in), providers, tokens, sessions, audit)
