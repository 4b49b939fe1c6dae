"""A clock that nobody can set."""

import time


class MonotonicClock:
    """Seconds that only ever grow: what was used lately must not look old because the wall clock was set."""

    def seconds(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()
