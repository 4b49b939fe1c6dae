"""Digests by the million in few bytes each, and in nothing that Python's garbage collector would have to look at.

Both kinds are filled by `add`, sealed once, and only asked from then on. Each is sorted, so what is in it has a number.
A part for the same two first digits is sorted at a time: to sort all at once would keep the reactor waiting.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from operator import lt

from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry.digest import Digest

_BEGIN = 16  # digits, which are 64 bits
_MANY = 1000  # to sort as many takes longer than to wake a thread
_STEPS = 10  # of so many digests that are added one counts as a step of a `Throttle`


async def sealed(digests: "Beginnings | Digests", count: int, workers: Workers) -> None:
    """Seal ``count`` digests: here, or in a thread where they are many."""
    if count < _MANY:
        digests.seal()
    else:
        await workers.run(digests.seal)


def zeros(count: int) -> "array[int]":
    """An array of so many, at once: a million that come from an iterator take 20 ms."""
    return array("I", bytes(array("I").itemsize * count))


class Beginnings:
    """The first 64 bits of digests, in 8 bytes each. Two digests with the same ones count as the same."""

    def __init__(self) -> None:
        self._parts: dict[int, array[int]] = {}
        self._full: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._length = 0

    def add(self, digest: Digest) -> None:
        """Put one in; it may be there already."""
        begin = int(digest.hex[:_BEGIN], 16)
        part = self._parts.get(begin >> 56)
        if part is None:
            part = self._parts[begin >> 56] = array("Q")
        part.append(begin)
        if len(part) >= self._full.get(begin >> 56, _MANY):  # a layer that all repositories have was added by each
            part = self._parts[begin >> 56] = array("Q", sorted(set(part)))
            self._full[begin >> 56] = max(_MANY, 2 * len(part))

    def seal(self) -> None:
        """Sort them. It may take long, and be called in a thread."""
        for key, part in sorted(self._parts.items()):
            if not all(map(lt, part, islice(part, 1, None))):
                part = self._parts[key] = array("Q", sorted(set(part)))
            self._first[key] = self._length
            self._length += len(part)

    def number(self, digest: Digest) -> int | None:
        """The number of a digest, below `len`; None where it is not there."""
        begin = int(digest.hex[:_BEGIN], 16)
        part = self._parts.get(begin >> 56)
        if part is None:
            return None
        at = bisect_left(part, begin)
        return self._first[begin >> 56] + at if at < len(part) and part[at] == begin else None

    def __contains__(self, digest: Digest) -> bool:
        return self.number(digest) is not None

    def __len__(self) -> int:
        return self._length


class _Part:
    """Digests of an algorithm that begin with the same two digits."""

    def __init__(self, algorithm: str, length: int) -> None:
        self.algorithm = algorithm
        self.begins = array("Q")
        self.rests = bytearray()
        self.width = (length - _BEGIN) // 2

    def rest(self, at: int) -> bytes:
        return bytes(self.rests[at * self.width : (at + 1) * self.width])

    def sort(self) -> None:
        if all(map(lt, self.begins, islice(self.begins, 1, None))):
            return
        found = sorted({(begin, self.rest(at)) for at, begin in enumerate(self.begins)})
        self.begins = array("Q", [begin for begin, _ in found])
        self.rests = bytearray(b"".join(rest for _, rest in found))


class Digests:
    """Whole digests, in 32 bytes each for sha256, in their order. They are numbered from 0."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], _Part] = {}
        self._parts: list[_Part] = []
        self._first: list[int] = []
        self._numbers: dict[tuple[str, str], int] = {}
        self._length = 0

    @classmethod
    async def of(cls, digests: AsyncIterator[Digest], workers: Workers, throttle: Throttle) -> "Digests":
        """All of some, sealed."""
        found = cls()
        count = 0
        async for digest in digests:
            found.add(digest)
            count += 1
            if count % _STEPS == 0:
                await throttle.step()
        await sealed(found, count, workers)
        return found

    def add(self, digest: Digest) -> None:
        """Put one in; it may be there already."""
        key = digest.algorithm, digest.hex[:2]
        part = self._by_key.get(key)
        if part is None:
            part = self._by_key[key] = _Part(digest.algorithm, len(digest.hex))
        part.begins.append(int(digest.hex[:_BEGIN], 16))
        part.rests += bytes.fromhex(digest.hex[_BEGIN:])

    def seal(self) -> None:
        """Sort them. It may take long, and be called in a thread."""
        for key, part in sorted(self._by_key.items()):
            part.sort()
            self._numbers[key] = self._length
            self._parts.append(part)
            self._first.append(self._length)
            self._length += len(part.begins)

    def number(self, digest: Digest) -> int | None:
        """The number of a digest; None where it is not there."""
        key = digest.algorithm, digest.hex[:2]
        part = self._by_key.get(key)
        if part is None:
            return None
        begin = int(digest.hex[:_BEGIN], 16)
        at = bisect_left(part.begins, begin)
        while at < len(part.begins) and part.begins[at] == begin:
            if part.rest(at) == bytes.fromhex(digest.hex[_BEGIN:]):
                return self._numbers[key] + at
            at += 1
        return None

    def __getitem__(self, number: int) -> Digest:
        if not 0 <= number < self._length:
            raise IndexError(number)
        which = bisect_right(self._first, number) - 1
        part, at = self._parts[which], number - self._first[which]
        return Digest(part.algorithm, f"{part.begins[at]:0{_BEGIN}x}{part.rest(at).hex()}")

    def __iter__(self) -> Iterator[Digest]:
        return map(self.__getitem__, range(self._length))

    def __contains__(self, digest: Digest) -> bool:
        return self.number(digest) is not None

    def __len__(self) -> int:
        return self._length


class Lengths:
    """The length of each of some contents, as far as it is known, in 8 bytes each."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._lengths = array("q", b"\xff" * (8 * len(digests)))  # -1

    def set(self, digest: Digest, length: int) -> None:
        """Note the length of one of them, in bytes."""
        number = self._digests.number(digest)
        if number is not None:
            self._lengths[number] = length

    def get(self, digest: Digest) -> int | None:
        """The length of one; None where it is not known."""
        number = self._digests.number(digest)
        length = -1 if number is None else self._lengths[number]
        return None if length < 0 else length

    def __contains__(self, digest: Digest) -> bool:
        return self.get(digest) is not None
