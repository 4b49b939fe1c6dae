"""Which upload sessions there are, of which clients, and which of them gives way to a new one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ipfsreg.registry.errors import TooManyRequests

from .unfinished import Unfinished
from .upload import Upload, UploadState

GIVES_WAY_SECONDS = 30.0
"""A session that was not used for so many seconds may be ended for the sake of a new one, where there are too many."""

_MOST_GIVES_WAY_SECONDS = 1.0
"""As `GIVES_WAY_SECONDS`, for the client that has most sessions, where another one needs room."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many sessions there may be at once: in all, of one client's address, and of one owner.

    ``unfinished`` is how many bytes those of one owner may have. None is any number.
    """

    maximum: int
    per_client: int
    per_owner: int | None = None
    unfinished: int | None = None


class Sessions:
    """The sessions of all clients.

    A client is whatever its address says, and an owner a user, from wherever, or an address; the sessions of an
    earlier daemon are nobody's, that is those of ``""``.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._all: dict[str, Upload] = {}
        self._of_clients: dict[str, dict[str, Upload]] = {}
        self._of_owners: dict[str, dict[str, Upload]] = {}
        self._unfinished: dict[str, Unfinished] = {}

    def __len__(self) -> int:
        return len(self._all)

    def get(self, identifier: str) -> Upload | None:
        """The session of that name."""
        return self._all.get(identifier)

    def all(self) -> Iterable[Upload]:
        """All of them."""
        return self._all.values()

    def add(self, upload: Upload) -> None:
        """A session began."""
        self._all[upload.identifier] = upload
        for table, key in self._tables(upload):
            table.setdefault(key, {})[upload.identifier] = upload

    def remove(self, upload: Upload) -> None:
        """A session ended; nothing happens where it is not here."""
        if self._all.pop(upload.identifier, None) is None:
            return
        for table, key in self._tables(upload):
            own = table[key]
            del own[upload.identifier]
            if not own:
                del table[key]
        if upload.identity.owner not in self._of_owners:
            self._unfinished.pop(upload.identity.owner, None)

    def unfinished_of(self, owner: str) -> Unfinished:
        """The count of what an owner's sessions have, for a session that is added next."""
        return self._unfinished.setdefault(owner, Unfinished(owner, self._bounds.unfinished if owner else None))

    def in_the_way(self, client: str, owner: str, is_idle: Callable[[Upload, float], bool]) -> Upload | None:
        """The session that has to end before ``client`` can begin one for ``owner``, or None where there is room.

        Where the client or the owner has as many as one may have, it is one of its own. Where there are too many in
        all, it is one of the client that has most, so that nobody keeps the others out. The emptiest one goes first,
        and of these the one that was not used for longest. ``is_idle`` says whether a session was not used for so many
        seconds.

        :raises TooManyRequests: where all of these are in use.
        """
        own = self._of_clients.get(client, {})
        if len(own) >= self._bounds.per_client:
            return _emptiest(own.values(), is_idle, GIVES_WAY_SECONDS, "of your address ")
        of_owner = self._of_owners.get(owner, {})
        if owner and self._bounds.per_owner is not None and len(of_owner) >= self._bounds.per_owner:
            return _emptiest(of_owner.values(), is_idle, GIVES_WAY_SECONDS, f"of {owner} ")
        if len(self._all) < self._bounds.maximum:
            return None
        most = max(self._of_clients.values(), key=len)
        if len(most) > len(own) + 1:
            return _emptiest(most.values(), is_idle, _MOST_GIVES_WAY_SECONDS, "")
        return _emptiest(self._all.values(), is_idle, GIVES_WAY_SECONDS, "")

    def _tables(self, upload: Upload) -> tuple[tuple[dict[str, dict[str, Upload]], str], ...]:
        identity = upload.identity
        return (self._of_clients, identity.client), (self._of_owners, identity.owner)


def _emptiest(
    uploads: Iterable[Upload], is_idle: Callable[[Upload, float], bool], seconds: float, whose: str
) -> Upload:
    candidates = [
        each for each in uploads if not each.busy and each.state is not UploadState.ENDED and is_idle(each, seconds)
    ]
    if not candidates:
        raise TooManyRequests(f"there are too many unfinished uploads {whose}at once; try again later")
    return min(candidates, key=lambda each: (each.received, each.last_used))
