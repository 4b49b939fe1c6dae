"""Switches that make the double slow or unwilling in ways of its own."""

from tests.bucket.textile.double.faults import Faults as BuckdFaults


class Faults(BuckdFaults):
    """All switches: those of the buckd inside too. Plain attributes, to be set at any time.

    `push_bytes_per_second` is how fast AddItems takes a file in, `pull_bytes_per_second` how fast OpenFile makes a
    copy, and `corrupt` has pairs of bucket and path, as a caller names them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.item_errors: dict[str, str] = {}
        """By base name: what AddItems says of a file that it then does not store. The call's status stays 0."""
        self.unanswered_items: set[str] = set()
        """Base names of files that AddItems neither stores nor says anything of."""
        self.deadlocks = 0
        """How many of the next OpenFile calls are never answered, when the file was found in two places at once."""
        self.other_keyring = False
        """Whether the daemon keeps its key pair in `pass`, Secret Service or KWallet."""
        self.entry_seconds = 0.0
        """How long a listing takes for each file: the real one makes two more calls, of up to 3 s each."""
        self.member_seconds = 0.0
        """How much longer for each entry without `omitMembers`: the real one asks the hub."""
