"""Bringing old content to the newest generation: in the background of an owner's daemon, file by file.

Whoever was removed knows the keys of older generations. So short files get new keys, and the keys of long ones are
encrypted with the newest key; a file is written anew, whole or not at all, so it can be interrupted at any moment. The
next pass begins at the start and looks at the seals only of what is done.

Only when a whole pass has found nothing to do, and a while after the generation was made, nobody writes with older keys
any more. Then the signatures of those who were removed cease to count (`TeamChanges.settle`).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ipfsreg.bucket.bulk import listings
from ipfsreg.bucket.encrypted.backend import OpenedByKeys
from ipfsreg.bucket.errors import Corrupt, KeyMissing, NotFound
from ipfsreg.flow.throttle import Throttle

from .team import Team

REWRAP_SECONDS = 60.0
"""How long after one pass the next one begins."""


@dataclass(slots=True)
class Pass:
    """What one pass did. ``damaged`` are paths of what cannot be brought to another generation; ``done`` says whether
    all content has the newest one."""

    generation: int
    files: int = 0
    changed: int = 0
    stored: int = 0
    damaged: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether there was nothing to do."""
        return not self.changed


class Rewrapping:
    """``tops`` are the directories at the top of the bucket, ``files`` the files there. ``rate`` is in bytes a second,
    None for as fast as it goes."""

    _log = Logger()

    def __init__(
        self,
        bucket: OpenedByKeys,
        team: Team,
        clock: IReactorTime,
        rate: float | None,
        tops: Sequence[str],
        files: Sequence[str],
    ) -> None:
        self._bucket = bucket
        self._team = team
        self._clock = clock
        self._rate = rate
        self._tops = tops
        self._files = files
        self._before: int | None = None
        """The generation of the last pass, if that found nothing to do."""

    async def run_if_needed(self) -> None:
        """Make a pass, where this daemon's member is an owner and something may be of an older generation."""
        if not self._team.is_owner or not self._team.current().can_write:
            return
        # Nothing is older than the first generation.
        if self._team.current().generation <= max(await self._team.rewrapped(), 1):
            return
        found = await self.run()
        if found.changed:
            self._log.info(
                "{changed} of {files} files were brought to generation {generation}.",
                changed=found.changed,
                files=found.files,
                generation=found.generation,
            )
        if found.done and found.generation == self._before:
            await self._team.settle(found.generation)
            self._log.info("All content is of generation {generation}.", generation=found.generation)
        self._before = found.generation if found.done else None

    async def run(self) -> Pass:
        """Bring all files to the generation of the moment."""
        generation = self._team.current().generation
        reencrypt = await self._team.reencrypts(generation)
        found, throttle = Pass(generation), Throttle(self._clock, self._rate)
        async for path in self._paths():
            await throttle.step()
            try:
                stored = await self._bucket.seal_again(path, reencrypt=reencrypt)
            except NotFound:
                continue  # it was removed meanwhile
            except (Corrupt, KeyMissing) as error:
                self._log.error("{path} stays as it is: {error}", path=path, error=error)
                found.damaged.append(path)
                continue
            found.files += 1
            if stored:
                found.changed += 1
                found.stored += stored
                await throttle.moved(stored)
        return found

    async def _paths(self) -> AsyncIterator[str]:
        for path in self._files:
            yield path
        for top in self._tops:
            async for listing in listings(self._bucket, top):
                for entry in listing.entries:
                    if not entry.is_directory and not entry.strange:
                        yield f"{listing.directory}/{entry.name}"
