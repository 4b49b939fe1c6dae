"""What kind of server the double is: a hub or a buckd, which release, and with which limits."""

from dataclasses import dataclass

from tests.grpcweb_double.settings import MEBIBYTE, MessageLimits


@dataclass(frozen=True, slots=True)
class Generation:
    """A release of textile, as far as its wire and its methods differ.

    See docs/protocols/textile.md, "Pushing" and "Limits".
    """

    major: int
    minor: int
    patch: int

    @property
    def _version(self) -> tuple[int, int, int]:
        return (self.major, self.minor, self.patch)

    def __str__(self) -> str:
        return "v" + ".".join(str(part) for part in self._version)

    @property
    def old_websocket(self) -> bool:
        """The wrapper v0.13.0: no size limit, TCP is dropped at the end, nothing is read after finish."""
        return self._version < (2, 6, 10)

    @property
    def compresses(self) -> bool:
        """Whether permessage-deflate is agreed to where a client offers it.

        The wrapper v0.14 does; textile v2.6.17 put a fork in its place because of that compression.
        """
        return (2, 6, 10) <= self._version < (2, 6, 17)

    @property
    def has_push_paths(self) -> bool:
        """Whether there is a method PushPaths."""
        return self._version >= (2, 6, 0)

    @property
    def checks_paths_in_header(self) -> bool:
        """Whether `paths` in the header of PushPaths are looked at."""
        return self._version >= (2, 6, 11)

    @property
    def has_move_path(self) -> bool:
        """Whether there is a method MovePath."""
        return self._version >= (2, 6, 4)

    @property
    def locks(self) -> bool:
        """Whether writes to one bucket wait for each other."""
        return self._version >= (2, 1, 2)

    @property
    def hub_bucket_size(self) -> int | None:
        """The size in bytes that a hub of this release allows a bucket, None for any."""
        if self._version >= (2, 6, 0):
            return None
        return 4096 * MEBIBYTE if self._version >= (2, 1, 7) else 1024 * MEBIBYTE

    @classmethod
    def parse(cls, text: str) -> "Generation":
        """Read ``v2.6.20`` or ``2.6.20``.

        :raises ValueError: for anything else.
        """
        major, minor, patch = (int(part) for part in text.removeprefix("v").split("."))
        return cls(major, minor, patch)


CURRENT = Generation(2, 6, 20)
"""The last release."""

OLD_WEBSOCKET = Generation(2, 6, 9)
"""The last release with the wrapper v0.13.0; it has every method."""

NO_PUSH_PATHS = Generation(2, 1, 7)
"""A release without PushPaths and MovePath, and the base of the buckd that runs without MongoDB."""


@dataclass(slots=True)
class Limits(MessageLimits):
    """What the server refuses; None takes a limit away. Sizes in bytes, times in seconds."""

    document: int | None = 4 * MEBIBYTE
    """The bucket's JSON document, as a gRPC message inside the server (docs/protocols/textile.md, "Limits")."""

    documents: int | None = 4 * MEBIBYTE
    """All documents of a thread together, which List reads with one such message.

    Not documented anywhere; it follows from how `document` comes about, and a client had better expect it.
    """

    directory_block: int | None = MEBIBYTE
    """The block of one directory (docs/protocols/textile.md, "Limits")."""

    bucket_size: int | None = None
    """The DAG size of a bucket: ``max bucket size exceeded`` (docs/protocols/textile.md, "Limits")."""

    threads_per_owner: int | None = 100
    """Only on a hub (docs/protocols/textile.md, "Credentials")."""

    challenge_seconds: float = 60.0
    """How long GetToken waits for a signature (docs/protocols/textile.md, "Identities and tokens")."""

    archive_smallest: int = 64 * MEBIBYTE
    archive_largest: int = 32 * 1024 * MEBIBYTE
    archive_rep_factor: int = 4
    """Of a hub. A buckd never sets them, so that every archive is too big (docs/protocols/textile.md, "Archives")."""
