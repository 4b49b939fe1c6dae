"""What making a backend gives: its bucket, and what the rest of the program has to know of it."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .capabilities import Capabilities
from .interface import IBucket

BackendTask = Callable[[Mapping[str, str]], Awaitable[dict[str, Any]]]
"""From arguments to a result that JSON can hold; fails with a `BucketError`."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Work that a daemon does again ``seconds`` after it ended; the first time after ``first``, if that is less."""

    what: str
    seconds: float
    work: Callable[[], Awaitable[object]]
    first: float = 60.0


LOOK_SECONDS = 5.0
"""How often a daemon that has a bucket to itself has to look whether another one wants to use it."""


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


async def _nothing_more() -> Mapping[str, str]:
    return {}


def _never() -> bool:
    return False


def _no_problem() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Opened:
    """A backend made from its options. ``tasks`` are what the `ipfsreg` command can ask of it, by name.

    ``ipfs`` is what the storage can do where it is one on IPFS.
    ``encrypted`` says whether what is stored is encrypted there, so that its content is for those only who may pull it;
    None as long as the bucket was not asked. It may be called in any thread.
    ``existing`` fails with a `SetupError` where there is no bucket yet, for commands that must not make one; None where
    a start never makes one.
    ``exclusion`` has a bucket to itself that others may use, where that is possible.
    ``problem`` says in one line why a start would fail, as far as this disk tells. It blocks, and changes nothing.
    ``told`` gives what there is to say of its server for people, such as the number of a node's peers, by what each is
    called; it answers within seconds, and fails with a `BucketError`. No secret is in it.
    ``read_only`` says why nothing can be changed, where that is so, to clients too.
    ``not_read_needlessly`` says why its content should not be read without need, where that is so: then it is not
    scrubbed unless the configuration says so.
    ``replace`` replaces a file (its path, its CID, the content or a file with it) where it still has that CID, and
    answers whether it had: for work that must not undo what another daemon does at the same moment.
    ``leave_out`` tells a mirror, which fetches all but the directories at the top that have long files, under which
    names these are stored, where that is not their own.
    """

    bucket: IBucket
    tasks: Mapping[str, BackendTask] = field(default_factory=dict)
    repeated: Sequence[Repeated] = ()
    ipfs: Capabilities = field(default_factory=Capabilities)
    encrypted: Callable[[], bool | None] = _never
    existing: Callable[[], Awaitable[None]] | None = None
    exclusion: Exclusion | None = None
    problem: Callable[[], str | None] = _no_problem
    told: Callable[[], Awaitable[Mapping[str, str]]] = _nothing_more
    read_only: str | None = None
    not_read_needlessly: str | None = None
    replace: Callable[[str, str, bytes | Path], Awaitable[bool]] | None = None
    leave_out: Callable[[Callable[[Sequence[str]], Awaitable[Collection[str]]]], None] | None = None
