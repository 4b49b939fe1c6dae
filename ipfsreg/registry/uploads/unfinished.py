"""How many bytes the unfinished uploads of one user have."""

from ipfsreg.registry.errors import UnfinishedTooLarge


class Unfinished:
    """Counts them. ``whose`` is for messages; ``most`` is how many there may be (None: any)."""

    def __init__(self, whose: str, most: int | None) -> None:
        self._whose = whose
        self._most = most
        self._bytes = 0

    def check(self, more: int) -> None:
        """See that there is room.

        :raises UnfinishedTooLarge: where there is none.
        """
        if self._most is not None and self._bytes + more > self._most:
            raise UnfinishedTooLarge(
                f"the unfinished uploads of {self._whose} may have {self._most} bytes at once "
                f"([limits] unfinished_size_per_user), and {more} more than {self._bytes} do not fit; "
                "try again when others are finished",
                {"used": self._bytes, "allowed": self._most, "needed": more},
            )

    def take(self, more: int) -> None:
        """`check`, and count them."""
        self.check(more)
        self._bytes += more

    def release(self, number: int) -> None:
        """So many are not there any more."""
        self._bytes -= number
