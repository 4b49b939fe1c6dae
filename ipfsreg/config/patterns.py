"""Patterns over names. Matching takes time linear in the name, whatever both are: nothing is tried twice."""

from collections import defaultdict

PATTERN_MAX = 512
"""Characters that a pattern may have."""


class Pattern:
    """``*`` is any characters but ``/``, ``**`` is any characters, ``?`` is one character but ``/``.

    :raises ValueError: where it is empty or longer than `PATTERN_MAX`.
    """

    __slots__ = ("_any", "_end", "_kind", "_letters", "_prefix", "_single", "_stars", "text")

    def __init__(self, text: str) -> None:
        if not 0 < len(text) <= PATTERN_MAX:
            raise ValueError(f"a pattern has 1 to {PATTERN_MAX} characters")
        self.text = text
        wild = min((at for at in map(text.find, "*?") if at >= 0), default=len(text))
        self._prefix = text[:wild]
        self._kind = {"": "exact", "**": "prefix"}.get(text[wild:], "wild")
        self._compile(text[wild:])

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def matches(self, name: str) -> bool:
        """Whether the whole name is as the pattern says."""
        if not name.startswith(self._prefix):
            return False
        if self._kind != "wild":
            return self._kind == "prefix" or len(name) == len(self._prefix)
        # Bit n: what was read so far can be had by the first n parts of the pattern.
        state = self._after_stars(1)
        for letter in name[len(self._prefix) :]:
            within = letter != "/"
            stays = state & (self._stars if within else self._any)
            goes = state & (self._letters.get(letter, 0) | (self._single if within else 0))
            state = self._after_stars(stays | goes << 1)
            if not state:
                return False
        return bool(state & self._end)

    def _after_stars(self, state: int) -> int:
        # A star may be nothing. No two stars follow each other.
        return state | (state & self._stars) << 1

    def _compile(self, text: str) -> None:
        self._letters: dict[str, int] = defaultdict(int)
        self._single = 0  # ?
        self._stars = 0  # * and **
        self._any = 0  # **
        bit = 1
        at = 0
        while at < len(text):
            stars = len(text[at:]) - len(text[at:].lstrip("*"))
            if stars:
                self._stars |= bit
                self._any |= bit if stars > 1 else 0
            elif text[at] == "?":
                self._single |= bit
            else:
                self._letters[text[at]] |= bit
            at += stars or 1
            bit <<= 1
        self._end = bit
