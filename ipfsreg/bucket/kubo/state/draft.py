"""The bucket's next state, while it is made: changes of the last one, and then the blocks that differ.

Directories are built here and not by the node's MFS. So garbage collection can take no part of a state without our
noticing, a state takes one call however many changes there are, and nobody sees a state that is not complete.
"""

from collections.abc import Callable
from typing import TypeAlias

from ipfsreg.bucket.errors import Corrupt, Refused
from ipfsreg.bucket.kubo.errors import Exists
from ipfsreg.bucket.kubo.node.directories import Directories
from ipfsreg.bucket.kubo.node.node import Target
from ipfsreg.ipfs.cid import CID, RAW, cid_of
from ipfsreg.ipfs.dag_pb import BlockInvalid, PBLink
from ipfsreg.ipfs.hamt import Block, HashExhausted
from ipfsreg.ipfs.unixfs import directory_node

_Changes: TypeAlias = dict[str, "Target | None | _Changes"]
"""Changes of a directory, by name: what a name leads to, nothing, or changes of the directory that it is."""


class StateDraft:
    """Changes of a state, none of which anybody sees before `blocks` are stored and its root counts."""

    def __init__(self, directories: Directories, root: CID) -> None:
        self._directories = directories
        self._root = root
        self._changes: dict[str, Target | None] = {}
        self._contents: dict[CID, bytes] = {}

    @property
    def changed(self) -> bool:
        """Whether there is any change."""
        return bool(self._changes)

    def checkpoint(self) -> Callable[[], None]:
        """What takes back all that is changed from now on."""
        changes, contents = dict(self._changes), dict(self._contents)

        def take_back() -> None:
            self._changes, self._contents = changes, contents

        return take_back

    async def find(self, path: str) -> Target | None:
        """The file that a path leads to; None for a directory, and for nothing."""
        if path in self._changes:
            return self._changes[path]
        link = await self._directories.find(self._root, path.split("/"))
        if link is None or await self._directories.directory(link.cid) is not None:
            return None
        return Target(link.cid, link.size)

    async def link(self, path: str, target: Target) -> None:
        """Let a path lead to a file, in place of the file that was there.

        :raises Exists: for a directory, also one that became empty in this draft.
        :raises Refused: where something above it is a file.
        """
        below = f"{path}/"
        if any(changed.startswith(below) for changed, to in self._changes.items() if to is not None):
            raise Exists(f"{path} is a directory")
        link = await self._directories.find(self._root, path.split("/"))
        if link is not None and await self._directories.directory(link.cid) is not None:
            raise Exists(f"{path} is a directory")
        parts = path.split("/")
        for length in range(1, len(parts)):
            if await self.find("/".join(parts[:length])) is not None:
                raise Refused(f"{'/'.join(parts[:length])} is not a directory")
        self._changes[path] = target

    async def store(self, path: str, content: bytes) -> None:
        """Let a path lead to a small file, which becomes one raw block. See `link`."""
        cid = cid_of(RAW, content)
        await self.link(path, Target(cid, len(content)))
        self._contents[cid] = content

    def unlink(self, path: str) -> None:
        """Remove a file, which is there, and the directories that are empty then."""
        self._changes[path] = None

    async def blocks(self) -> tuple[CID, list[Block]]:
        """The new state's CID, and all blocks that it has and the last one may not have, each after what it links to.

        :raises Corrupt: where a directory of the last state is damaged.
        """
        tree: _Changes = {}
        # A name may be a file's now and have been a directory's, or the other way round: what is gone comes first.
        for path, target in sorted(self._changes.items(), key=lambda change: (change[1] is not None, change[0])):
            *above, name = path.split("/")
            directory = tree
            for each in above:
                below = directory.get(each)
                if not isinstance(below, dict):
                    below = directory[each] = {}
                directory = below
            directory[name] = target
        kept = {target.cid for target in self._changes.values() if target is not None}
        blocks = [(cid, content) for cid, content in self._contents.items() if cid in kept]
        try:
            top = await self._built(self._root, tree, blocks)
        except BlockInvalid as error:
            raise Corrupt(f"a directory is damaged: {error}") from None
        except HashExhausted as error:
            raise Refused(str(error)) from None
        assert top is not None, "a state has a mark"
        return top.cid, blocks

    async def _built(self, cid: CID | None, changes: _Changes, blocks: list[Block]) -> Target | None:
        """A directory with changes made; None where nothing is left in it."""
        node = None if cid is None else await self._directories.directory(cid)
        if node is None:
            node = directory_node([])
        entries: dict[str, PBLink | None] = {}
        for name, change in changes.items():
            target = change
            if isinstance(change, dict):
                below = await self._directories.step(node, name)
                target = await self._built(None if below is None else below.cid, change, blocks)
            assert not isinstance(target, dict)
            entries[name] = None if target is None else PBLink(target.cid, name, target.size)
        new, shards = await self._directories.changed(node, entries)
        blocks += shards
        if new is None:
            return None
        block = await self._directories.encoded(new)
        blocks.append(block)
        return Target(block[0], len(block[1]) + sum(link.size for link in new.links))
