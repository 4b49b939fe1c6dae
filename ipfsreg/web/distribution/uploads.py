"""``/v2/<name>/blobs/uploads/``: pushing blobs in every way that there is (distribution-spec, "Pushing blobs")."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ipfsreg.access.identity import Action
from ipfsreg.registry.content.dags import Dags
from ipfsreg.registry.digest import HEX_LENGTHS, Digest, parse_digest
from ipfsreg.registry.errors import DigestInvalid, NameInvalid, UploadOutOfOrder
from ipfsreg.registry.events.event import BLOB, EventAction, Target
from ipfsreg.registry.names import Repository, parse_repository
from ipfsreg.registry.repository.blobs import Blobs
from ipfsreg.registry.uploads.upload import Upload
from ipfsreg.registry.uploads.uploads import Uploads
from ipfsreg.web.gate import Gate
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request
from ipfsreg.web.replies import CID_HEADER, parameter, reply
from ipfsreg.web.routes import Routes
from ipfsreg.web.teller import Teller

from .converters import path

_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?")
"""The specification's ``<start>-<end>``; some clients write the unit of RFC 9110 before it."""


_NOTHING_TO_RESUME = "0--1"
"""The Range of an empty upload, for a client that asks where to go on.

The specification has no form for it (distribution-spec, issues 577 and 578), and 0-0 is that of one byte: who resumes
after a lost first chunk would go on at byte 1, and be refused for ever. regclient, which resumes, takes the number
after the first ``-`` and adds 1, and fails without the header.
"""

_NOTHING_AFTER_CHUNK = "0-0"
"""The Range after a chunk that was empty too: Docker's client wants one that does not end before it begins."""


class UploadRoutes:
    """Upload sessions and mounts."""

    def __init__(
        self, uploads: Uploads, blobs: Blobs, dags: Dags, clients: TrustedProxies, gate: Gate, teller: Teller
    ) -> None:
        self._uploads = uploads
        self._blobs = blobs
        self._dags = dags
        self._clients = clients
        self._gate = gate
        self._teller = teller

    def add_to(self, routes: Routes) -> None:
        """Add the routes."""
        all_of_them = "/v2/<repository:repository>/blobs/uploads/"
        one = f"{all_of_them}<session>"
        routes.add(all_of_them, ["POST"], "upload-begin", self.begin, Action.PUSH)
        routes.add(one, ["GET"], "upload-status", self.status, Action.PUSH)
        routes.add(one, ["PATCH"], "upload-append", self.append, Action.PUSH)
        routes.add(one, ["PUT"], "upload-finish", self.finish, Action.PUSH)
        routes.add(one, ["DELETE"], "upload-cancel", self.cancel, Action.PUSH)

    async def begin(self, request: Request, repository: Repository) -> bytes:
        """Mount a blob, take a whole one, or begin a session."""
        mounted = await self._mount(request, repository)
        if mounted is not None:
            blob, size = mounted
            target = Target(repository, blob, media_type=BLOB, size=size, source=parameter(request, "from"))
            await self._teller.changed(request, EventAction.MOUNT, target)
            return await self._created(request, repository, blob, size)
        digest = _digest_parameter(request)
        algorithm = parameter(request, "digest-algorithm")
        if algorithm is not None and algorithm not in HEX_LENGTHS:
            raise DigestInvalid(f"unknown digest algorithm; known are {', '.join(HEX_LENGTHS)}")
        upload = await self._uploads.begin(repository, self._clients.network_of(request), self._gate.name_of(request))
        if digest is None:
            return reply(request, 202, _progress(upload, None))
        try:
            await self._finish(request, upload, digest)
        except BaseException:
            await upload.cancel()  # the client was never told the session's name
            raise
        return await self._pushed(request, upload, digest)

    async def status(self, request: Request, repository: Repository, session: str) -> bytes:
        """How much of an upload has arrived."""
        upload = await self._uploads.find_idle(repository, session)
        return reply(request, 204, _progress(upload, _NOTHING_TO_RESUME))

    async def append(self, request: Request, repository: Repository, session: str) -> bytes:
        """Take the next part, of known or unknown length."""
        upload = await self._uploads.find_idle(repository, session)
        with _telling_the_offset(request, upload):
            async with upload.appending(request.body.length, _content_range(request, upload)) as consumer:
                await request.body.copy_to(consumer)
        return reply(request, 202, _progress(upload, _NOTHING_AFTER_CHUNK))

    async def finish(self, request: Request, repository: Repository, session: str) -> bytes:
        """Take the last part, if there is one, and make the blob."""
        upload = await self._uploads.find_idle(repository, session)
        digest = _digest_parameter(request)
        if digest is None:
            raise DigestInvalid("a PUT that completes an upload has a digest parameter")
        if request.body.ended:
            await upload.commit(digest)
        else:
            await self._finish(request, upload, digest)
        return await self._pushed(request, upload, digest)

    async def cancel(self, request: Request, repository: Repository, session: str) -> bytes:
        """Throw an upload away."""
        upload = await self._uploads.find_idle(repository, session)
        await upload.cancel()
        return reply(request, 204, {})

    async def _mount(self, request: Request, repository: Repository) -> tuple[Digest, int] | None:
        """The blob that was mounted, and its length; None where nothing was."""
        wanted = parameter(request, "mount")
        if wanted is None:
            return None
        named = parameter(request, "from")
        pulls = None if self._gate.is_open else self._gate.pulls(request)
        try:
            digest = parse_digest(wanted)
            source = None if named is None else parse_repository(named)
            if source is not None and pulls is not None and not pulls(source):
                return None  # as if it were not there
            size = await self._blobs.mount(repository, digest, source, pulls)
        except (DigestInvalid, NameInvalid):
            return None  # a mount that cannot be becomes an ordinary upload
        return None if size is None else (digest, size)

    async def _finish(self, request: Request, upload: Upload, digest: Digest) -> None:
        with _telling_the_offset(request, upload):
            async with upload.completing(digest, request.body.length, _content_range(request, upload)) as consumer:
                await request.body.copy_to(consumer)

    async def _pushed(self, request: Request, upload: Upload, digest: Digest) -> bytes:
        target = Target(upload.repository, digest, media_type=BLOB, size=upload.received)
        await self._teller.changed(request, EventAction.PUSH, target)
        return await self._created(request, upload.repository, digest, upload.received)

    async def _created(self, request: Request, repository: Repository, digest: Digest, size: int) -> bytes:
        headers = {
            "Location": path(repository, "blobs", digest),
            "Docker-Content-Digest": digest,
            CID_HEADER: await self._dags.cid_text(digest, size),
        }
        return reply(request, 201, headers)


@contextmanager
def _telling_the_offset(request: Request, upload: Upload) -> Iterator[None]:
    """Where bytes are refused that are not the next ones, the answer says which those are."""
    try:
        yield
    except UploadOutOfOrder:
        for name, value in _progress(upload, _NOTHING_TO_RESUME).items():
            request.set_header(name, value)
        raise


def _digest_parameter(request: Request) -> Digest | None:
    text = parameter(request, "digest")
    return None if text is None else parse_digest(text)


def _content_range(request: Request, upload: Upload) -> tuple[int, int] | None:
    """The numbers of the first and the last byte that come, where the client says them."""
    text = request.header("content-range")
    if text is None:
        return None
    match = _CONTENT_RANGE.fullmatch(text.strip())
    if match is None:
        raise UploadOutOfOrder("Content-Range is <first byte>-<last byte>", upload.received)
    return int(match[1]), int(match[2])


def _progress(upload: Upload, nothing: str | None) -> dict[str, object]:
    """The headers that say how far an upload is; ``nothing`` is the Range where it is empty."""
    offset = upload.offset
    return {
        "Location": path(upload.repository, "blobs/uploads", upload.identifier),
        "Range": f"0-{offset - 1}" if offset else nothing,
        "Docker-Upload-UUID": upload.identifier,
        "Blob-Upload-Session-ID": upload.identifier,
    }
