"""Which manifests of a repository keep which others. They go by their numbers in an `Inventory`."""

from collections.abc import Iterable

from ipfsreg.flow.throttle import Throttle

from .inventory import Inventory


class Keeping:
    """A manifest is kept by the tags that point to it, the manifests that list it, and its subject.

    Made by `of`. Each removal is told to it, and costs no more than what that manifest refers to.
    """

    def __init__(self, contents: Inventory) -> None:
        self._contents = contents
        self._tagged = {contents.listed[each] for each in contents.tags.values() if each in contents.listed}
        self._keepers = dict.fromkeys(contents.known, 0)
        self._referring: dict[int, list[int]] = {}

    @classmethod
    async def of(cls, contents: Inventory, throttle: Throttle) -> "Keeping":
        """That of a repository in which nothing is damaged."""
        keeping = cls(contents)
        for number, known in contents.known.items():
            await throttle.step(contents.weight(number))
            for child in known.manifests:
                if child in keeping._keepers:
                    keeping._keepers[child] += 1
            subject = None if known.subject is None else contents.listed.get(known.subject)
            if subject in keeping._keepers:
                keeping._keepers[number] += 1
                keeping._referring.setdefault(subject, []).append(number)
        for number in keeping._tagged & keeping._keepers.keys():
            keeping._keepers[number] += 1
        return keeping

    def unneeded(self) -> list[int]:
        """Those that nothing keeps."""
        return [number for number, keepers in self._keepers.items() if not keepers]

    def removed(self, number: int) -> list[int]:
        """A manifest is taken out; answers those that nothing keeps any more."""
        del self._keepers[number]
        free = []
        for each in (*self._contents.known[number].manifests, *self._referring.pop(number, ())):
            if each in self._keepers:
                self._keepers[each] -= 1
                if not self._keepers[each]:
                    free.append(each)
        return free

    async def unreachable(self, kept: Iterable[int], throttle: Throttle) -> set[int]:
        """Those to which neither a tag nor one of ``kept`` leads: they only keep each other."""
        left = set(self._keepers)
        pending = [*self._tagged, *kept]
        while pending:
            number = pending.pop()
            if number in left:
                left.discard(number)
                await throttle.step(self._contents.weight(number))
                pending += [*self._contents.known[number].manifests, *self._referring.get(number, ())]
        return left
