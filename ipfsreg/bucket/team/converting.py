"""Converting a bucket to an encrypted one, or back: ``ipfsreg encrypt`` and ``ipfsreg decrypt``.

While it is under way there are both: the team's documents, and the file that every plain registry has. So a daemon that
was not told of it does not start on half a bucket. That file goes last, or comes first; the documents go last.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from ipfsreg.bucket.bulk import listings
from ipfsreg.bucket.encrypted.backend import DOCUMENTS
from ipfsreg.bucket.encrypted.converting import ConvertingBucket
from ipfsreg.bucket.errors import NotFound, Refused
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.progress import Progress

from .team import Team

Direction = Literal["encrypt", "decrypt"]


class Converting:
    """``plain`` is the file that a plain registry has, ``original`` a directory of one that cannot be converted."""

    def __init__(
        self, bucket: ConvertingBucket, storage: IBucket, team: Team, direction: Direction, plain: str, original: str
    ) -> None:
        self._bucket = bucket
        self._storage = storage
        self._team = team
        self._direction = direction
        self._plain = plain
        self._original = original
        self.finished = False
        """Whether the bucket is plain again, and has no team any more."""

    async def run(self, arguments: Mapping[str, str], progress: Progress) -> dict[str, Any]:
        """Convert everything. `Refused` where that cannot be, or is not what the configuration says."""
        if arguments["direction"] != self._direction:
            raise Refused(f"[encryption] convert says {self._direction}: change it, and start the daemon anew")
        if self.finished:
            raise Refused("the bucket is plain again: set [encryption] enabled = no, and start the daemon anew")
        if await self._storage.list(self._original):
            raise Refused(
                f"{self._storage.name} has images of the original program, which cannot be converted: copy the "
                "registry to another place with `ipfsreg copy`"
            )
        await self._team.open()
        if not self._team.current().can_write:
            raise Refused("this daemon's member may only read the encrypted bucket")
        if self._direction == "decrypt":
            await self._bucket.convert_file(self._plain)
        done = await self._bucket.convert(progress)
        if not done.damaged:
            if self._direction == "encrypt":
                await self._bucket.convert_file(self._plain)
            else:
                self.finished = True
                await self._remove_documents()
        return asdict(done) | {"damaged": list(done.damaged)}

    async def _remove_documents(self) -> None:
        # Later it may be encrypted again, by another team: nothing of this one is to be expected then.
        await self._team.forget()
        # That of the bucket goes last: without it there is no team.
        paths = []
        async for listing in listings(self._storage, DOCUMENTS):
            paths += [f"{listing.directory}/{entry.name}" for entry in listing.entries if not entry.is_directory]
        for path in sorted(paths, key=lambda path: path == f"{DOCUMENTS}/bucket"):
            try:
                await self._storage.remove(path)
            except NotFound:
                continue
