"""Which repositories' content may be had by CID, decided in this one place."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from ipfsreg.bucket.errors import Unavailable


def _not_encrypted() -> bool:
    return False


class Visibility:
    """What may be had by CID: nothing of an encrypted bucket, and nothing of a private repository.

    ``private`` are patterns of repositories' names, as in a shell. ``encrypted`` says whether the bucket is encrypted,
    and None as long as it was not asked; it can be called in any thread, and so can `shows`. With ``by_asker`` a
    repository may be hidden from one who asks and not from another.
    """

    def __init__(
        self,
        private: Sequence[str] = (),
        encrypted: Callable[[], bool | None] = _not_encrypted,
        *,
        by_asker: bool = False,
    ) -> None:
        self._private = tuple(private)
        self.any_private = bool(private)
        """Whether a repository can be private."""
        self._encrypted = encrypted
        known = encrypted()
        self.everything = known is False and not private and not by_asker
        """Whether nothing is ever hidden, so that nobody has to ask."""
        self.nothing = known is True
        """Whether everything is always hidden, so that there is nothing to offer."""

    def shows(self, repository: str) -> bool:
        """Whether the content of a repository may be had by CID.

        :raises Unavailable: as long as that is not known: nothing is shown on a guess, nor said not to be there.
        """
        encrypted = self._encrypted()
        if encrypted is None:
            raise Unavailable("whether the bucket is encrypted is not known yet")
        return not encrypted and not self.is_private(repository)

    def is_private(self, repository: str) -> bool:
        """Whether a repository is one of ``private``."""
        return any(fnmatchcase(repository, pattern) for pattern in self._private)

    def hides(self, repository: str) -> bool:
        """The opposite of `shows`."""
        return not self.shows(repository)
