"""Copies of the bucket at a remote pinning service, which fetches them from the node by itself.

The service has to have been told to the node: ``ipfs pin remote service add NAME ENDPOINT KEY``. So its key is known
to the node alone.
"""

from collections.abc import Awaitable, Callable

from twisted.logger import Logger

from ipfsreg.bucket.kubo.rpc.client import Option, Rpc, parsed, reading

_ALL_STATES = ("queued", "pinning", "pinned", "failed")


class KuboRemotePins:
    """Keeps the newest state of the bucket pinned at a service. ``root`` answers that state's CID."""

    _log = Logger()

    def __init__(self, rpc: Rpc, root: Callable[[], Awaitable[str]], folder: str) -> None:
        self._rpc = rpc
        self._root = root
        self._name = f"ipfsreg {folder}"
        self._order: list[str] = []
        """The states that were seen by this object, the newest last: all others are older."""
        # The node asks the service meanwhile, so these calls take their time.
        self._lane = rpc.lane(1)

    async def keep_copy(self, service: str) -> None:
        """Have the service pin the bucket as it is now, and drop older states once it has a newer one.

        All that the bucket refers to is below its one CID. `BucketError` where the node or the service fails.
        """
        root = await self._root()
        states = await self._states(service)
        if states.get(root) in {None, "failed"}:
            if root in states:
                self._log.error("The pinning service {service} could not pin {root}.", service=service, root=root)
                await self._remove(service, root)
            await self._ask("pin/remote/add", [root], {"service": service, "name": self._name, "background": True})
            self._log.info("Asked the pinning service {service} to pin {root}.", service=service, root=root)
        # The newest that the service has, and what is newer and on its way: a busy registry is always ahead of it.
        if self._order[-1:] != [root]:
            self._order = [*(cid for cid in self._order if cid in states and cid != root), root]
        newest = next((cid for cid in reversed(self._order) if states.get(cid) == "pinned"), None)
        if newest is not None:
            self._order = self._order[self._order.index(newest) :]
            for cid in states:
                if cid not in self._order:
                    await self._remove(service, cid)

    async def _states(self, service: str) -> dict[str, str]:
        """What the service says of each state that it was asked to pin, by CID."""
        options: dict[str, Option] = {"service": service, "name": self._name, "status": _ALL_STATES}
        lines = (await self._ask("pin/remote/ls", [], options)).splitlines()
        found = [parsed("pin/remote/ls", line) for line in lines if line.strip()]
        with reading("pin/remote/ls"):
            # The service may match names by a part of them.
            return {str(each["Cid"]): str(each["Status"]) for each in found if each.get("Name") == self._name}

    async def _remove(self, service: str, cid: str) -> None:
        options: dict[str, Option] = {
            "service": service,
            "cid": cid,
            "name": self._name,
            "status": _ALL_STATES,
            "force": True,
        }
        await self._ask("pin/remote/rm", [], options)

    async def _ask(self, command: str, arguments: list[str], options: dict[str, Option]) -> bytes:
        return await self._rpc.call(command, arguments, options, lane=self._lane)
