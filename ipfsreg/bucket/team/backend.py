"""A backend whose bucket is encrypted for a team."""

from dataclasses import replace
from pathlib import Path

from ipfsreg.bucket.encrypted.backend import encrypted_backend
from ipfsreg.bucket.errors import SetupError, Unavailable
from ipfsreg.bucket.opened import Opened, Repeated
from ipfsreg.flow.workers import Workers

from .tasks import team_tasks
from .team import Own, Team

RETRY_AFTER = 60


def team_backend(backend: Opened, own: Own, workers: Workers, directory: Path, refresh: float) -> Opened:
    """The same backend, encrypted. ``directory`` is that of the backend on this disk.

    ``refresh`` is how often the team is read anew, in seconds.
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

    encrypted = encrypted_backend(backend, own.load_key, team, opened, workers, directory)
    return replace(
        encrypted,
        tasks={**encrypted.tasks, **team_tasks(team)},
        repeated=[*encrypted.repeated, Repeated("read who is in the team", refresh, look, refresh)],
    )
