"""A blob on its way to a registry: mounted, at once, or in a session that goes on where it was cut."""

from collections.abc import AsyncGenerator, Callable
from urllib.parse import urlencode

from twisted.internet.task import deferLater

from ipfsreg.registry.digest import Digest
from ipfsreg.registry.names import Repository

from .authorization import Scope, scope_of
from .errors import RemoteError, Unintelligible, Unreachable
from .session import STORE_SECONDS, TRIES, Session
from .transport import Answer, Body

AT_ONCE_MAX = 64 * 1024
"""A blob of no more bytes goes with the request that begins a session, where the registry takes that."""

PUSH = "pull,push"
_CREATED = frozenset({201})
_BEGUN = frozenset({201, 202})

From = Callable[[int], AsyncGenerator[bytes, None]]
"""Gives the bytes of a blob from an offset on. It is called anew where an upload has to go on."""


class Uploader:
    """Uploads of blobs to one registry."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._at_once = True

    async def mount(self, repository: Repository, digest: Digest, source: Repository) -> str | None:
        """Have a blob of another repository, without sending it; None where that is done.

        :returns: where it is not, the URL of a session that was begun instead.
        """
        scope = scope_of(repository, PUSH) + scope_of(source)
        answer = await self._begin(repository, {"mount": str(digest), "from": source}, scope, None)
        return None if answer.status == 201 else self._session.location(answer)

    async def upload(
        self, repository: Repository, digest: Digest, size: int, source: From, location: str | None = None
    ) -> None:
        """Send a blob of ``size`` bytes; ``location`` is of a session that was begun for it.

        :raises RemoteError: where that fails. :raises Exception: what ``source`` fails with.
        """
        scope = scope_of(repository, PUSH)
        content: bytes | None = None
        if size <= AT_ONCE_MAX:
            content = b"".join([piece async for piece in source(0)])

        def body(offset: int) -> Body:
            return Body(source(offset), size - offset) if content is None else Body.of(content[offset:])

        tries = offset = 0
        while True:
            if location is None:
                offset, at_once = 0, content is not None and self._at_once
                query = {"digest": str(digest)} if at_once else {}
                answer = await self._begin(repository, query, scope, content if at_once else None)
                if answer.status == 201 and at_once:
                    return
                self._at_once = self._at_once and not at_once
                location = self._session.location(answer)
            tries += 1
            try:
                await self._put(location, digest, size, offset, body, scope)
                return
            except Unreachable as error:
                if isinstance(error, Unintelligible) or tries >= TRIES:
                    raise
            await deferLater(self._session.transport.reactor, min(2.0**tries / 4, 10), lambda: None)
            location, offset = await self._resume(location, size, scope)

    async def _begin(
        self, repository: Repository, query: dict[str, str], scope: Scope, content: bytes | None
    ) -> Answer:
        url = self._session.address.url(f"{repository}/blobs/uploads/") + (f"?{urlencode(query)}" if query else "")
        headers = {} if content is None else {"Content-Type": "application/octet-stream"}
        answer = await self._session.request(
            "POST",
            url,
            scope,
            headers=headers,
            body=lambda: Body.of(content or b""),
            accept=_BEGUN,
            seconds=STORE_SECONDS,
        )
        await answer.drop()
        return answer

    async def _put(
        self, location: str, digest: Digest, size: int, offset: int, body: Callable[[int], Body], scope: Scope
    ) -> None:
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': str(digest)})}"
        headers = {"Content-Type": "application/octet-stream"}
        if offset:
            headers["Content-Range"] = f"{offset}-{size - 1}"
        answer = await self._session.request(
            "PUT",
            url,
            scope,
            headers=headers,
            body=lambda: body(offset),
            accept=_CREATED,
            seconds=STORE_SECONDS,
            again=False,
        )
        await answer.drop()

    async def _resume(self, location: str, size: int, scope: Scope) -> tuple[str | None, int]:
        """Where the session is, and how many bytes it has; None where it is gone, or has what cannot be."""
        try:
            answer = await self._session.request("GET", location, scope, accept=frozenset({200, 204}))
        except Unreachable:
            raise
        except RemoteError:
            return None, 0
        await answer.drop()
        begin, dash, end = (answer.header("Range") or "").removeprefix("bytes=").partition("-")
        if begin != "0" or not dash or not (end.isascii() and end.isdecimal()) or len(end) > 18:
            return None, 0
        offset = int(end) + 1 if int(end) else 0
        if offset >= size:  # nothing is left to send: some registries say so of a session that is through
            return None, 0
        if answer.header("Location"):
            location = self._session.location(answer)
        return location, offset
