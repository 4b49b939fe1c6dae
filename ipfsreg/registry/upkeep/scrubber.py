"""The slow background scrub: reads everything again and again, and reports damage."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.spool_format import SpoolFormat
from ipfsreg.flow.durable import remove_drafts, write_durably
from ipfsreg.flow.gather import batches_async
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import DigestInvalid

from .inventory import AT_ONCE
from .verifier import Verification, Verifier

_SAVE_EVERY = 10.0
"""Seconds of reading that a restart may repeat."""

_NAMED = 50
"""How many images the log names. `ipfsreg verify` names them all."""


class SavedPosition:
    """The digest of the content that was looked at last, in a file that is kept as the spool's notes are.

    All of it is for threads.
    """

    def __init__(self, path: Path, form: SpoolFormat) -> None:
        self._path = path
        self._form = form

    def load(self) -> Digest | None:
        """The digest, or None where none is known."""
        with suppress(OSError):
            remove_drafts(self._path)
        try:
            return parse_digest(self._form.read_note(self._path.name, self._path.read_bytes()).decode().strip())
        except (OSError, ValueError, DigestInvalid):
            return None

    def save(self, digest: Digest) -> None:
        """Remember a digest."""
        write_durably(self._path, self._form.note(self._path.name, f"{digest}\n".encode()))

    def forget(self) -> None:
        """Remember none."""
        self._path.unlink(missing_ok=True)


@dataclass(slots=True)
class ScrubTotals:
    """What was read since the start, and found damaged."""

    contents: int = 0
    bytes: int = 0
    damaged: int = 0


class Scrubber:
    """One pass over all content in the order of its digests, resumed where an earlier daemon was stopped.

    ``position`` remembers how far it came; ``throttle`` makes what bounds one pass. A short file counts as `FILE_COSTS`
    bytes.
    """

    _log = Logger()

    def __init__(
        self,
        stored: IBucket,
        verifier: Verifier,
        workers: Workers,
        clock: IReactorTime,
        throttle: Callable[[], Throttle],
        position: SavedPosition,
    ) -> None:
        self._stored = stored
        self._workers = workers
        self._verifier = verifier
        self._clock = clock
        self._throttle = throttle
        self._position = position
        self.totals = ScrubTotals()

    async def run(self) -> Verification:
        """Go on to the end. Damage is logged as it is found, with the images that use it."""
        report = Verification()
        done = await self._workers.run(self._position.load)
        await self._scrub(done, self._throttle(), report)
        await self._workers.run(self._position.forget)
        return report

    async def _scrub(self, done: Digest | None, throttle: Throttle, report: Verification) -> None:
        saved = self._clock.seconds()
        async for some in batches_async(self._left(done, throttle), AT_ONCE):
            await self._check(some, throttle, report)
            if self._clock.seconds() - saved >= _SAVE_EVERY:
                saved = self._clock.seconds()
                await self._workers.run(self._position.save, some[-1])

    async def _left(self, done: Digest | None, throttle: Throttle) -> AsyncIterator[Digest]:
        async for digest in layout.all_blobs(self._stored):
            if done is None or digest > done:
                yield digest
            else:
                await throttle.step()

    async def _check(self, some: list[Digest], throttle: Throttle, report: Verification) -> None:
        damaged, read = len(report.damaged), report.bytes
        self.totals.contents += len(some)
        async for digest, _ in self._verifier.check(some, throttle, report):
            self.totals.bytes += report.bytes - read
            read = report.bytes
            if len(report.damaged) > damaged:
                self.totals.damaged += len(report.damaged) - damaged
                damaged = len(report.damaged)
                await self._tell(digest)

    async def _tell(self, digest: Digest) -> None:
        images = (await self._verifier.images_using([digest]))[str(digest)]
        self._log.error(
            "The scrub found {digest} damaged. It is used by: {images}. Push one of them again to heal it.",
            digest=str(digest),
            images=", ".join([*images[:_NAMED], *([f"{len(images) - _NAMED} more"] if len(images) > _NAMED else [])])
            or "no image",
        )
