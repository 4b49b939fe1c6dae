"""Requests to one registry with all that belongs to each: credentials, patience where it is busy, redirects."""

import email.utils
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from ipfsreg.flow.locks import KeyedLock
from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import ManifestInvalid

from .address import RegistryAddress, join_url
from .authorization import NO_SCOPE, Authorization, Scope, repository_of
from .credentials import Credentials, CredentialsError, Logins
from .errors import AccessDenied, Refused, RemoteError, Unintelligible, Unknown, Unreachable, Untrustworthy, printable
from .transport import Answer, Body, Transport

ANSWER_SECONDS = 60.0
"""How long a registry may take until it begins to answer."""

STORE_SECONDS = 600.0
"""How long it may take to store a blob after its last byte."""

TRIES = 5
"""How often a request is sent that can be repeated, where the registry cannot be reached or is busy."""

PAUSE_MAX = 60.0
"""The longest pause before it is sent again, in seconds, whatever ``Retry-After`` says."""

_OWN = {"User-Agent": "ipfsreg", "Accept-Encoding": "identity"}
_FIRST_PAUSE = 0.5
_REDIRECTS_MAX = 5
_DOCUMENT_MAX = 64 * 1024
_BUSY = frozenset({429, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

FindCredentials = Callable[[str], Logins]
"""Finds the credentials for a registry by its name. It may block, and is called in a thread, once."""


class Session:
    """One registry over one `Transport`."""

    def __init__(
        self, reactor: Any, address: RegistryAddress, transport: Transport, find: FindCredentials | None
    ) -> None:
        self.address = address
        self.transport = transport
        self._reactor = reactor
        self._find = find
        self._answered = False
        self._logins = Logins(())
        self._finding = KeyedLock()
        self._authorization = Authorization(address, self._credentials, self._fetch, reactor.seconds)

    async def request(
        self,
        method: str,
        url: str,
        scope: Scope = NO_SCOPE,
        *,
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Body] | None = None,
        accept: frozenset[int] = frozenset({200}),
        seconds: float | None = None,
        again: bool = True,
    ) -> Answer:
        """The answer to a request whose status is one of ``accept``.

        ``body`` is called anew for each try, and ``again`` says whether there may be more than one.

        :raises RemoteError: for any other end.
        """
        tries, renewed, redirects = 0, False, 0
        while True:
            tries += 1
            ours = self.address.has(url)
            authorization = await self._authorization.header(scope) if ours else None
            own = _OWN if authorization is None else {**_OWN, "Authorization": authorization}
            last = tries >= TRIES or not again
            try:
                sent = {**(headers or {}), **own}
                answer = await self.transport.send(
                    method, url, sent, body() if body else None, seconds or ANSWER_SECONDS
                )
            except Unintelligible:
                raise
            except Unreachable:
                if last or not self._answered:  # who has never answered may not be there at all
                    raise
                await self._pause(tries, None)
                continue
            self._answered = True
            if answer.status in accept:
                return answer
            if answer.status == 401 and ours and not renewed:
                renewed = True
                await answer.drop()
                await self._authorization.challenged(answer.headers("WWW-Authenticate"), scope, authorization)
            elif answer.status in _BUSY and not last:
                await answer.drop()
                await self._pause(tries, answer.header("Retry-After"))
            elif answer.status in _REDIRECTS and method in {"GET", "HEAD"} and redirects < _REDIRECTS_MAX:
                redirects += 1
                await answer.drop()
                url = self.location(answer)
            else:
                raise await self._refusal(method, answer, scope)

    def location(self, answer: Answer) -> str:
        """Where an answer leads to.

        :raises Untrustworthy: where it leads nowhere, or out of TLS.
        """
        location = answer.header("Location")
        url = join_url(answer.url, location) if location else None
        if url is None:
            raise Untrustworthy(f"{self.address.name} leads to what is no URL")
        if answer.url.startswith("https:") and not url.startswith("https:"):
            raise Untrustworthy(f"{self.address.name} leads from https to http")
        return url

    async def _credentials(self, scope: Scope) -> Credentials | None:
        async with self._finding.of(self):
            find, self._find = self._find, None
            if find is not None:
                try:
                    self._logins = await deferToThread(find, self.address.name)
                except CredentialsError as error:
                    raise RemoteError(str(error)) from None
        return self._logins.of(repository_of(scope))

    async def _fetch(self, scope: Scope, url: str, headers: Mapping[str, str], content: bytes | None) -> bytes:
        """Ask a token server. It follows no redirect: the password was for this one."""
        tries = 0
        while True:
            tries += 1
            body = None if content is None else Body.of(content)
            method = "GET" if body is None else "POST"
            answer = await self.transport.send(method, url, {"User-Agent": "ipfsreg", **headers}, body, ANSWER_SECONDS)
            if answer.status in _BUSY and tries < TRIES:
                await answer.drop()
                await self._pause(tries, answer.header("Retry-After"))
                continue
            found = await answer.content(_DOCUMENT_MAX)
            if answer.status in {401, 403}:
                raise await self._authorization.denied(answer.status, scope)
            if answer.status != 200:
                raise Refused(f"the token server of {self.address.name} answered {answer.status}", answer.status)
            return found

    async def _pause(self, tries: int, retry_after: str | None) -> None:
        pause = _FIRST_PAUSE * 2 ** (tries - 1)
        await deferLater(self._reactor, min(max(pause, seconds_of(retry_after)), PAUSE_MAX), lambda: None)

    async def _refusal(self, method: str, answer: Answer, scope: Scope) -> RemoteError:
        code, message = "", ""
        if method != "HEAD":
            with suppress(Unreachable, Untrustworthy):
                code, message = _error_of(await answer.content(_DOCUMENT_MAX))
        said = f": {printable(message)}" if message else ""
        name, status = self.address.name, answer.status
        if status == 401:
            return await self._authorization.denied(status, scope)
        if status == 403:
            return AccessDenied(f"{name} does not allow it{said}", status, code)
        if status == 404:
            return Unknown(f"{name} does not have it{said}", status, code)
        if status in _BUSY:
            return Unreachable(f"{name} cannot do it now{said} (status {status})")
        return Refused(f"{name} answered {status}{said}", status, code)


def _error_of(content: bytes) -> tuple[str, str]:
    try:
        errors = read_json(content).get("errors")
    except ManifestInvalid:
        return "", ""
    if not isinstance(errors, list) or not errors or not isinstance(errors[0], dict):
        return "", ""
    code, message = errors[0].get("code"), errors[0].get("message")
    return (code if type(code) is str else "")[:64], message if type(message) is str else ""


def seconds_of(retry_after: str | None) -> float:
    """RFC 9110, section 10.2.3: seconds, or a date."""
    if retry_after is None:
        return 0.0
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:6])
    try:
        return email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
