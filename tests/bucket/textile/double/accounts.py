"""Accounts, API keys and sessions of a hub, and the order in which it looks at them.

See docs/protocols/textile.md, "Credentials".
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from nacl.signing import SigningKey

from tests.grpcweb_double.call import NOT_FOUND, PERMISSION_DENIED, UNAUTHENTICATED, Call, RpcError

from .faults import Faults
from .identity import decode_multibase, public_key_string, to_base32, token_subject

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

NOT_ON_A_HUB = {"ListDBs", "Subscribe"}


@dataclass(slots=True)
class Account:
    """A user or organisation of a hub."""

    name: str
    public_key: str
    gone: bool = False


@dataclass(slots=True)
class ApiKey:
    """An API key. `secret` is as a user would write it in a config file."""

    key: str
    secret: str = field(repr=False)
    owner: Account
    for_users: bool
    """A user-group key: whoever uses it shows a token of an identity of their own."""
    secure: bool
    """Made with "Require Signature Authentication"."""
    valid: bool = True


@dataclass(slots=True)
class Session:
    """A login of the command line client."""

    account: Account
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a call comes from: a public key string, empty for nobody in particular (a buckd without token)."""

    public_key: str
    api_key: str = ""
    """The user-group key that was used, empty with any other."""


class Accounts:
    """The hub's accounts, and what they show to be let in."""

    def __init__(self, server_key: SigningKey, faults: Faults) -> None:
        self.server_key = server_key
        self.api_keys: dict[str, ApiKey] = {}
        self.sessions: dict[str, Session] = {}
        self._faults = faults

    def add_account(self, name: str = "dev") -> Account:
        """A new account with a key pair of its own."""
        return Account(name, public_key_string(SigningKey.generate().verify_key))

    def add_key(
        self,
        account: Account | None = None,
        *,
        secure: bool = True,
        for_users: bool = False,
        key: str | None = None,
        secret: str | None = None,
    ) -> ApiKey:
        """A new API key, of a new account where none is given; key and secret are random unless given."""
        api_key = ApiKey(
            key or to_base32(secrets.token_bytes(16)),
            secret or to_base32(secrets.token_bytes(24)),
            account or self.add_account(),
            for_users,
            secure,
        )
        self.api_keys[api_key.key] = api_key
        return api_key

    def add_session(self, account: Account) -> str:
        """A new session's token."""
        token = to_base32(secrets.token_bytes(32))
        self.sessions[token] = Session(account)
        return token

    def identify_on_hub(self, call: Call) -> Identity:
        """Who calls, by the hub's rules in the hub's order.

        :raises RpcError: with the hub's code and text.
        """
        if call.method in NOT_ON_A_HUB:
            raise RpcError(PERMISSION_DENIED, "Method is not accessible")
        metadata = call.metadata
        if token := metadata.get("x-textile-session"):
            return self._by_session(token, metadata.get("x-textile-org"))
        if (text := metadata.get("x-textile-api-key")) is None:
            raise RpcError(UNAUTHENTICATED, "Session or API key required")
        key = self.api_keys.get(text)
        if key is None or not key.valid:
            raise RpcError(NOT_FOUND, "API key not found or is invalid")
        if key.secure:
            self._check_signature(key, metadata)
        if key.owner.gone:
            raise RpcError(NOT_FOUND, "Account not found")
        if not key.for_users:
            return Identity(key.owner.public_key)
        identity = self.identify_by_token(metadata)
        if identity is None:
            if call.method != "GetToken":
                raise RpcError(UNAUTHENTICATED, "Token required")
            return Identity("", key.key)
        return Identity(identity, key.key)

    def _by_session(self, token: str, organisation: str | None) -> Identity:
        session = self.sessions.get(token)
        if session is None:
            raise RpcError(UNAUTHENTICATED, "Invalid session")
        if session.expired:
            raise RpcError(UNAUTHENTICATED, "Expired session")
        if session.account.gone:
            raise RpcError(NOT_FOUND, "User not found")
        if organisation is not None:
            raise RpcError(NOT_FOUND, "Org not found")
        return Identity(session.account.public_key)

    def _check_signature(self, key: ApiKey, metadata: dict[str, str]) -> None:
        message, signature = metadata.get("x-textile-api-sig-msg"), metadata.get("x-textile-api-sig")
        try:
            if message is None or signature is None:
                raise ValueError("no signature")
            given = decode_multibase(signature)
        except ValueError:
            raise RpcError(UNAUTHENTICATED, "API key signature required") from None
        expected = hmac.digest(decode_multibase(key.secret), message.encode(), hashlib.sha256)
        if not self._in_time(message) or not hmac.compare_digest(given, expected):
            raise RpcError(UNAUTHENTICATED, "Bad API key signature")

    def _in_time(self, message: str) -> bool:
        if not _RFC3339.fullmatch(message):
            return False
        try:
            return datetime.fromisoformat(message).timestamp() >= self._faults.now()
        except ValueError:
            return False

    def identify_by_token(self, metadata: dict[str, str]) -> str | None:
        """The public key string of the bearer token, or None where there is no authorization header.

        :raises RpcError: where the header is not one, or the token not ours.
        """
        authorization = metadata.get("authorization")
        if authorization is None:
            return None
        scheme, space, token = authorization.partition(" ")
        if not space:
            raise RpcError(UNAUTHENTICATED, "Bad authorization string")
        if scheme.lower() != "bearer":
            raise RpcError(UNAUTHENTICATED, "Request unauthenticated with bearer")
        try:
            return token_subject(self.server_key, token)
        except ValueError:
            raise RpcError(PERMISSION_DENIED, "Bad authorization") from None
