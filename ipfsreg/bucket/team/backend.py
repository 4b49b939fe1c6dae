"""A backend whose bucket is encrypted for a team."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.encrypted.backend import OpenedByKeys, encrypted_backend
from ipfsreg.bucket.errors import SetupError, Unavailable
from ipfsreg.bucket.opened import Opened, Repeated
from ipfsreg.encryption.names import names_of
from ipfsreg.flow.workers import Workers

from .rewrap import REWRAP_SECONDS, Rewrapping
from .tasks import team_tasks
from .team import Own, Team

RETRY_AFTER = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """``refresh`` is how often the team is read anew, in seconds, ``rate`` how fast content is brought to another
    generation, in bytes a second, None for as fast as it goes.
    """

    refresh: float
    rate: float | None


def team_backend(
    backend: Opened, own: Own, workers: Workers, clock: IReactorTime, pace: Pace, tops: Sequence[str]
) -> Opened:
    """The same backend, encrypted. ``tops`` are the directories at the top of the bucket.

    What is moved or encrypted anew is beside the file that ``own`` notes things in.
    """
    team = Team(backend.bucket, own, workers)

    async def opened() -> None:
        try:
            await team.open()
        except SetupError as error:
            if not backend.bucket.shared:
                raise
            # What has to be changed may be changed by others, as when an owner adds this member.
            raise Unavailable(str(error), RETRY_AFTER) from None

    async def look() -> None:
        await opened()
        await team.refresh()

    encrypted = encrypted_backend(backend, own.load_key, team, opened, workers, own.seen.path.parent)
    bucket = encrypted.bucket
    assert isinstance(bucket, OpenedByKeys)
    if backend.leave_out is not None:

        async def stored_as(names: Sequence[str]) -> list[str]:
            await opened()
            return [names_of(team.current().name_key).path(name) for name in names]

        backend.leave_out(stored_as)
    rewrapping = Rewrapping(bucket, team, clock, pace.rate, tops, [own.plain])
    repeated = [Repeated("read who is in the team", pace.refresh, look, pace.refresh)]
    if backend.read_only is None:
        seconds = max(REWRAP_SECONDS, 2 * pace.refresh)
        repeated.append(Repeated("bring content to the newest keys", seconds, rewrapping.run_if_needed))
    return replace(
        encrypted,
        tasks={**encrypted.tasks, **team_tasks(team, rewrapping)},
        repeated=[*encrypted.repeated, *repeated],
    )
