"""What making a backend gives: its bucket, and what it offers beside being one."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .ahead import TakesAhead
from .content_by_cid import ContentByCid
from .errors import Unavailable
from .interface import IBucket
from .leaves import TellsLeaves

BackendTask = Callable[[Mapping[str, str]], Awaitable[dict[str, Any]]]
"""From arguments to a result that JSON can hold; fails with a `BucketError`."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Work that a daemon on this backend does every so many seconds."""

    what: str
    seconds: float
    work: Callable[[], Awaitable[object]]


class RemotePins(Protocol):
    """Copies of the bucket at remote pinning services."""

    async def keep_copy(self, service: str) -> None:
        """See to it that a service has the bucket as it is now; called again and again. `BucketError`."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Opened:
    """A backend made from its options. ``tasks`` are what the `ipfsreg` command can ask of it, by name.

    ``encrypted`` says whether what is stored is encrypted there, so that its content is for those only who may pull it;
    None as long as the bucket was not asked. It may be called in any thread.
    ``existing`` fails with a `SetupError` where there is no bucket yet, for who must not make one; None where a start
    never makes one.
    ``content_by_cid`` is there where the storage can fetch what it is only told the CID of, ``remote_pins`` where
    it can have others keep copies, ``ahead`` where it can take content before it is whole, ``teller`` where
    it knows the DAGs of what it stores.
    ``read_only`` says why nothing can be changed, where that is so, to clients too.
    ``not_read_needlessly`` says why its content should not be read without need, where that is so: then it is not
    scrubbed unless the configuration says so.
    """

    bucket: IBucket
    tasks: Mapping[str, BackendTask] = field(default_factory=dict)
    repeated: Sequence[Repeated] = ()
    encrypted: Callable[[], bool | None] = _never
    existing: Callable[[], Awaitable[None]] | None = None
    content_by_cid: ContentByCid | None = None
    not_read_needlessly: str | None = None
    remote_pins: RemotePins | None = None
    read_only: str | None = None
    ahead: TakesAhead | None = None
    teller: TellsLeaves | None = None

    def is_encrypted(self) -> bool:
        """Whether nothing may be shown by its CID.

        :raises Unavailable: as long as that is not known: nothing is shown on a guess, nor said not to be there.
        """
        encrypted = self.encrypted()
        if encrypted is None:
            raise Unavailable("whether the bucket is encrypted is not known yet")
        return encrypted
