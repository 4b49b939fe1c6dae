"""A backend whose bucket is encrypted for a team."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from twisted.internet.interfaces import IReactorTime

from ipfsreg.bucket.encrypted.backend import DOCUMENTS, OpenedByKeys, encrypted_backend
from ipfsreg.bucket.encrypted.converting import ConvertingBucket, Tops
from ipfsreg.bucket.errors import SetupError, Unavailable
from ipfsreg.bucket.opened import Opened, Repeated
from ipfsreg.bucket.spool_format import PLAIN_SPOOL
from ipfsreg.encryption.documents import STATE
from ipfsreg.encryption.names import names_of
from ipfsreg.flow.workers import Workers

from .converting import Converting, Direction
from .keys import TeamKeys
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


@dataclass(frozen=True, slots=True)
class Shape:
    """What the bucket has at its top: the directories ``all``, of which those ``derived`` can be made again.

    ``original`` is one that only another program wrote.
    """

    all: Sequence[str]
    derived: Sequence[str] = ()
    original: str = ""


def team_backend(backend: Opened, own: Own, workers: Workers, clock: IReactorTime, pace: Pace, shape: Shape) -> Opened:
    """The same backend, encrypted.

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

    def may_write() -> bool:
        try:
            return team.current().can_write
        except Unavailable:  # it was not read yet
            return True

    converting: Converting | None = None

    async def look() -> None:
        if converting is not None and converting.finished:
            return
        await opened()
        await team.refresh()

    encrypted = encrypted_backend(backend, own.load_key, TeamKeys(team, clock), opened, workers, own.seen.path.parent)
    bucket = encrypted.bucket
    assert isinstance(bucket, OpenedByKeys)
    if backend.sign_states is not None and own.convert != "decrypt":
        backend.sign_states(STATE, team.sign_state)
    if backend.mirror is not None:

        async def stored_as(names: Sequence[str]) -> list[str]:
            await opened()
            return [names_of(team.current().name_key).path(name) for name in names]

        backend.mirror.leave_out(stored_as)
        backend.mirror.check(team.check_state)
    rewrapping = Rewrapping(bucket, team, clock, pace.rate, shape.all, [own.plain])
    repeated = [Repeated("read who is in the team", pace.refresh, look, pace.refresh)]
    if own.convert is not None:
        encrypted, converting = _converting(backend, encrypted, team, own, workers, shape)
    elif backend.read_only is None:
        seconds = max(REWRAP_SECONDS, 2 * pace.refresh)
        repeated.append(Repeated("bring content to the newest keys", seconds, rewrapping.run_if_needed))
    return replace(
        encrypted,
        may_write=may_write,
        tasks={**encrypted.tasks, **team_tasks(team, rewrapping)},
        repeated=[*encrypted.repeated, *repeated],
    )


def _converting(
    backend: Opened, encrypted: Opened, team: Team, own: Own, workers: Workers, shape: Shape
) -> tuple[Opened, Converting]:
    """The backend while it is converted, with the task that does it."""
    direction = cast(Direction, own.convert)
    to_encrypted = direction == "encrypt"
    target, source = encrypted.bucket, backend.bucket
    if not to_encrypted:
        target, source = source, target
    tops = Tops(shape.all, shape.derived, DOCUMENTS)
    bucket = ConvertingBucket(encrypted.bucket, target, source, workers, own.seen.path.parent / "converting", tops)
    converting = Converting(bucket, backend.bucket, team, direction, own.plain, shape.original)
    can = encrypted.ipfs if to_encrypted else replace(encrypted.ipfs, spool=PLAIN_SPOOL)
    # What lies at the top is partly in one form and partly in the other.
    opened = replace(encrypted, bucket=bucket, ipfs=replace(can, list_top=None), long_tasks={"convert": converting.run})
    return opened, converting
