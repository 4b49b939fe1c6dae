"""Which manifests of a repository keep which others. They go by their numbers in an `Inventory`."""

from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain

from ipfsreg.flow.throttle import Throttle

from .compact import zeros
from .inventory import Inventory

_STEPS = 10  # of so many numbers that are looked at one counts as a step of a `Throttle`


class Keeping:
    """A manifest is kept by the tags that point to it, the manifests that list it, and its subject.

    Made by `of`. Each removal is told to it, and costs no more than what that manifest refers to.
    """

    def __init__(self, contents: Inventory) -> None:
        self._contents = contents
        length = len(contents.listed)
        self._keepers = zeros(length)
        # Those with the same subject are a chain, from the last one found to the first; a link is a number and one.
        self._last, self._before = (zeros(length if contents.has_subjects else 0) for _ in range(2))

    @classmethod
    async def of(cls, contents: Inventory, throttle: Throttle) -> "Keeping":
        """That of a repository in which nothing is damaged."""
        keeping = cls(contents)
        async for number in _whole(contents, throttle):
            await throttle.step(contents.weight(number) - 1)
            for child in contents.manifests(number):
                keeping._keepers[child] += 1
            subject = contents.subject(number)
            at = None if subject is None else contents.listed.number(subject)
            if at is not None and contents.is_whole(at):
                keeping._keepers[number] += 1
                keeping._before[number], keeping._last[at] = keeping._last[at], number + 1
            if contents.is_tagged(number):
                keeping._keepers[number] += 1
        return keeping

    async def unneeded(self, throttle: Throttle) -> "array[int]":
        """Those that nothing keeps."""
        return array("I", [each async for each in _whole(self._contents, throttle) if not self._keepers[each]])

    async def removed(self, number: int, throttle: Throttle) -> "array[int]":
        """A manifest is taken out of the inventory; answers those that nothing keeps any more."""
        self._contents.removed(number)
        free = array("I")
        async for each in self._kept_by(number, throttle):
            self._keepers[each] -= 1
            if not self._keepers[each]:
                free.append(each)
        return free

    async def unreachable(self, kept: Callable[[int], bool], throttle: Throttle) -> "array[int]":
        """Those to which neither a tag nor one that is ``kept`` leads: they only keep each other."""
        reached = bytearray(len(self._contents.listed))
        pending = array("I")
        async for root in _whole(self._contents, throttle):
            if not reached[root] and (self._contents.is_tagged(root) or kept(root)):
                reached[root] = 1
                pending.append(root)
            while pending:
                async for each in self._kept_by(pending.pop(), throttle):
                    if not reached[each]:
                        reached[each] = 1
                        pending.append(each)
        return array("I", [each async for each in _whole(self._contents, throttle) if not reached[each]])

    async def _kept_by(self, number: int, throttle: Throttle) -> AsyncIterator[int]:
        """What a manifest lists, and what refers to it: there may be a million."""
        for count, each in enumerate(chain(self._contents.manifests(number), self._referring(number)), 1):
            if self._contents.is_whole(each):
                yield each
            if count % _STEPS == 0:
                await throttle.step()

    def _referring(self, subject: int) -> Iterator[int]:
        at = self._last[subject] if self._last else 0
        while at:
            yield at - 1
            at = self._before[at - 1]


async def _whole(contents: Inventory, throttle: Throttle) -> AsyncIterator[int]:
    for number in range(len(contents.listed)):
        if number % _STEPS == 0:
            await throttle.step()
        if contents.is_whole(number):
            yield number
