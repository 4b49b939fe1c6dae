"""Having a bucket to oneself for a while, which other daemons may use."""

from typing import Protocol

LOOK_SECONDS = 5.0
"""How often whoever has a bucket to itself has to look whether another daemon wants to use it."""


class Exclusion(Protocol):
    """For work that must not go on beside the pushes of other daemons. Only for one user at a time.

    The clients of other daemons wait for its end, so it ends soon after one came. All of it may fail with a
    `BucketError`.
    """

    async def begin(self, quiet: float) -> bool:
        """Keep other daemons from beginning to use the bucket.

        False where one uses it, or was seen to in the last ``quiet`` seconds. `end` has to follow only on True, and
        only when nothing of the work is under way any more.
        """

    async def look(self) -> None:
        """Look whether somebody came; every `LOOK_SECONDS`."""

    @property
    def holds(self) -> bool:
        """Whether nobody came, and it is certain that nobody can have come. Once it is not it never is again."""

    async def end(self) -> None:
        """Let others use it."""
