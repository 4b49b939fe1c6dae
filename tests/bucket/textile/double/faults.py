"""Switches that make the double slow or unwilling in ways of its own."""

from tests.grpcweb_double.faults import CallFaults


class Faults(CallFaults):
    """All switches of a double. Plain attributes, to be set at any time; running calls may notice."""

    def __init__(self) -> None:
        super().__init__()
        self.push_bytes_per_second: float | None = None
        """How fast the server's IPFS takes content in; None: at once."""
        self.pull_bytes_per_second: float | None = None
        """How fast content of PullPath is sent."""
        self.decrypt_bytes_per_second: float | None = None
        """How fast a private file is checked before its first byte is sent; None: as fast as it is read."""
        self.save_seconds = 0.0
        """How long the end of each write takes (pins, the document), with the lock held."""
        self.create_seconds = 0.0
        """How long Create takes: the real one makes an RSA key."""
        self.block_fetch_seconds = 0.0
        """How long ListPath takes for each child: the real one fetches a block for each."""
        self.storage_exhausted = False
        """Writes are refused: ``storage quota exhausted``."""
        self.egress_exhausted = False
        """PullPath is refused: ``network egress exhausted``."""
        self.corrupt: set[tuple[str, str]] = set()
        """Pairs of bucket key and path of private files whose ciphertext is damaged."""
