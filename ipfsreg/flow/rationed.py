"""So many of a kind in some time, and the rest counted: for lines about what others can cause without end."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Window:
    began: float
    passed: int = 0
    left_out: int = 0


class Rationed:
    """Lets ``times`` things of each kind pass in a window of some ``seconds``, and counts those above.

    At most ``kinds`` are told apart at a time: all others are the kind ``others``. How many were left out is given to
    ``left_out`` with the kind, when anything comes after the window's end or at `stop`. ``now`` is a clock that nobody
    can set.
    """

    def __init__(
        self,
        now: Callable[[], float],
        left_out: Callable[[str, int], None],
        *,
        times: int,
        seconds: float,
        kinds: int,
        others: str,
    ) -> None:
        self._now = now
        self._left_out = left_out
        self._times = times
        self._seconds = seconds
        self._kinds = kinds
        self._others = others
        self._windows: dict[str, _Window] = {}  # in the order in which they began

    def may_pass(self, kind: str) -> bool:
        """Whether one more of a kind is within the bound. If not, it is counted."""
        now = self._now()
        self._end_windows(now - self._seconds)
        if kind not in self._windows and len(self._windows) >= self._kinds:
            kind = self._others
        window = self._windows.setdefault(kind, _Window(now))
        if window.passed >= self._times:
            window.left_out += 1
            return False
        window.passed += 1
        return True

    def stop(self) -> None:
        """Say what was left out."""
        self._end_windows(float("inf"))

    def _end_windows(self, until: float) -> None:
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if window.began > until:
                break
            del self._windows[kind]
            if window.left_out:
                self._left_out(kind, window.left_out)
