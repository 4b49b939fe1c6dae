"""What making a backend gives: its bucket, and what the rest of the program has to know of it."""

from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ipfsreg.flow.progress import Progress

from .capabilities import Capabilities
from .interface import IBucket

BackendTask = Callable[[Mapping[str, str]], Awaitable[dict[str, Any]]]
"""From arguments to a result that JSON can hold; fails with a `BucketError`."""


LongTask = Callable[[Mapping[str, str], Progress], Coroutine[Any, Any, dict[str, Any]]]
"""As `BackendTask`, for work that takes long."""


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


def _always() -> bool:
    return True


def _no_problem() -> None:
    return None


class Mirror(Protocol):
    """A bucket that follows another one. Both methods are for before it starts."""

    def leave_out(self, stored_as: Callable[[Sequence[str]], Awaitable[Collection[str]]]) -> None:
        """Leave out the directories at the top that have long files though they are stored under other names.

        ``stored_as`` answers these; where it fails, no newer state is kept.
        """

    def check(self, check: Callable[[IBucket, Mapping[str, str]], Awaitable[None]]) -> None:
        """Have each newer state checked before it is served: as a bucket, with the CIDs at its top by name."""


SignState = Callable[[int, Mapping[str, str]], bytes | None]
"""From a state's number and the CIDs at its top, by name, to the document that signs it, if it can be signed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A backend made from its options. ``tasks`` are what the `ipfsreg` command can ask of it, by name.

    ``long_tasks`` are those that say how far they are.
    ``ipfs`` is what the storage can do where it is one on IPFS.
    ``encrypted`` says whether what is stored is encrypted there, so that its content is for those only who may pull it;
    None as long as the bucket was not asked. It may be called in any thread.
    ``existing`` fails with a `SetupError` where there is no bucket yet, for commands that must not make one; None where
    a start never makes one.
    ``exclusion`` has a bucket to itself that others may use, where that is possible.
    ``problem`` says in one line why a start would fail, as far as this disk tells. It blocks, and changes nothing.
    ``told`` gives what there is to say of its server for people, such as the number of a node's peers, by what each is
    called; it answers within seconds, and fails with a `BucketError`. No secret is in it.
    ``read_only`` says why nothing can be changed, where that is so, to clients too. ``may_write`` says whether this
    daemon may, as far as it knows by now, where who may is for others to say.
    ``not_read_needlessly`` says why its content should not be read without need, where that is so: then it is not
    scrubbed unless the configuration says so.
    ``replace`` replaces a file (its path, its CID, the content or a file with it) where it still has that CID, and
    answers whether it had: for work that must not undo what another daemon does at the same moment.
    ``mirror`` is what a bucket that follows another one is told. ``sign_states`` has each state signed, where the
    storage has states: the document is stored at a path.
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
    may_write: Callable[[], bool] = _always
    not_read_needlessly: str | None = None
    replace: Callable[[str, str, bytes | Path], Awaitable[bool]] | None = None
    mirror: Mirror | None = None
    sign_states: Callable[[str, SignState], None] | None = None
    long_tasks: Mapping[str, LongTask] = field(default_factory=dict)
