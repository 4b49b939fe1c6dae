"""Changes without the MFS, for a node whose MFS does not answer any more."""

from ..errors import NotFound
from .contents import Found
from .errors import Exists
from .node import Node
from .working_copy import WorkingCopy


class PatchedCopy(WorkingCopy):
    """See `WorkingCopy`; each change makes another directory, ``root``, of the last one.

    What is asked below ``/ipfs/`` takes no lock of the MFS and, offline, waits for no network.
    """

    def __init__(self, node: Node, root: str) -> None:
        super().__init__(node, "")
        self.root = root

    async def find(self, path: str) -> Found | None:
        """See `WorkingCopy.find`."""
        try:
            return await self.node.stat(f"/ipfs/{self.root}/{path}")
        except NotFound:
            return None

    async def link(self, path: str, cid: str) -> None:
        """See `WorkingCopy.link`."""
        found = await self.find(path)
        if found is not None and found.is_directory:
            raise Exists(f"{path} is a directory")
        self.root = await self.node.patch(self.root, path, cid)
        self.changes += 1
        self.expected[path] = cid

    async def unlink(self, path: str) -> None:
        """See `WorkingCopy.unlink`."""
        self.root = await self.node.patch(self.root, path, None)
        self.changes += 1
        self.expected[path] = None
        directory = path.rpartition("/")[0]
        while directory:
            found = await self.find(directory)
            if found is None or not found.is_directory or found.children:
                return
            self.root = await self.node.patch(self.root, directory, None)
            directory = directory.rpartition("/")[0]
