"""Which directory a mirror serves: that to which a name points, once all that is small of it is on the node.

Tags, links and records are fetched and pinned on the node before a newer directory is served in place of the last one.
So a mirror always has one state as a whole, also while the registry that publishes it is away. Blobs and manifests
come as they are asked for, and the node's garbage collection may take them again.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress

from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError, NotFound, Unavailable
from ipfsreg.bucket.interface import IBucket
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, AlreadyPinned, NotPinned
from ipfsreg.bucket.kubo.json_file import JsonFile
from ipfsreg.bucket.kubo.node.network import Network
from ipfsreg.bucket.kubo.options import KuboOptions
from ipfsreg.bucket.kubo.reading.content_by_cid import network_contents
from ipfsreg.bucket.kubo.reading.read_only import ReadOnlyBucket
from ipfsreg.flow.background import Background
from ipfsreg.flow.single_flight import SingleFlight

_NOT_KEPT = ("blobs", "quarantine")
"""Directories of the top that have long files: what they hold is fetched as it is asked for."""


async def _not_kept() -> Collection[str]:
    return _NOT_KEPT


class Following:
    """Where ``[kubo] follow``, an ``/ipns/`` or ``/ipfs/`` path, leads. See `Life`.

    ``file`` is for what a restart has to know. The daemon is the only one that writes it.
    """

    _log = Logger()

    def __init__(self, options: KuboOptions, network: Network, file: JsonFile) -> None:
        self._options = options
        self._name = options.follow or ""
        self._network = network
        self._contents = network_contents(network)
        self._file = file
        self._root: str | None = None
        self._kept: str | None = None
        self._pins: dict[str, bool] = {}
        """What is pinned, or about to be, and whether with all below it."""
        self._certain: set[str] = set()
        """What this daemon has pinned itself: the node may be another one than that of an earlier daemon."""
        self._beginning: SingleFlight[None] = SingleFlight(self._begin)
        self._refreshing: SingleFlight[None] = SingleFlight(self._refresh)
        self._not_kept: Callable[[], Awaitable[Collection[str]]] = _not_kept
        self._check: Callable[[IBucket, Mapping[str, str]], Awaitable[None]] | None = None
        self._checked: str | None = None
        self._looking = Background(f"look where {self._name} leads", self._look)

    async def start(self) -> None:
        """See `Life.start`. Where the name leads is looked up in the background, and with the first request."""
        for warning in self._options.warnings():
            self._log.warn("{warning}", warning=warning)
        await self._load()
        self._looking.start()

    async def stop(self) -> None:
        self._looking.stop()
        await self._network.rpc.stop()

    async def _look(self) -> None:
        with suppress(BucketError):  # it is done again and again, and logged there
            await self.refresh()

    async def _load(self) -> None:
        """Go on from what an earlier daemon noted."""
        noted = await self._file.read()
        self._pins = dict(noted.get("pins", {}))
        if noted.get("follow") == self._name:
            self._root = noted.get("root")

    def leave_out(self, stored_as: Callable[[Sequence[str]], Awaitable[Collection[str]]]) -> None:
        """See `Mirror.leave_out`."""
        self._not_kept = lambda: stored_as(_NOT_KEPT)

    def check(self, check: Callable[[IBucket, Mapping[str, str]], Awaitable[None]]) -> None:
        """See `Mirror.check`."""
        self._check = check

    async def root(self) -> str:
        """The CID of the directory that is served now. `Unavailable` where none is known yet."""
        if self._root is None:
            await self._beginning.outcome()
        assert self._root is not None
        return self._root

    async def told(self) -> Mapping[str, str]:
        """See `Opened.told`."""
        served = "nothing yet" if self._root is None else self._root
        state = "" if self._root == self._kept else " (not yet on this node as a whole)"
        return {**await self._network.told(), "Mirror of": self._name, "Serves": served + state}

    async def refresh(self) -> None:
        """Look where the name points to, and go over to it. What is served is as it was where this fails."""
        await self._refreshing.outcome()

    async def _begin(self) -> None:
        root = await self._resolve()
        self._root = self._root or root

    async def _refresh(self) -> None:
        root = await self._resolve()
        if self._root is None:  # better in pieces than not at all
            self._root = root
        if root != self._kept:
            await self._keep(root)
            self._log.info("Serving {name} as of {root}.", name=self._name, root=root)

    async def _resolve(self) -> str:
        try:
            path = self._name
            if path.startswith("/ipns/"):
                path = "/ipfs/" + await self._network.resolve(path)
            found = await self._contents.stat(path)
        except NotFound as error:
            raise Unavailable(f"{self._name} leads nowhere: {error}", RETRY_AFTER) from None
        if not found.is_directory:
            raise Unavailable(f"{self._name} leads to a file, and not to a registry's directory", 60)
        if self._check is not None and found.cid != self._checked:
            await self._check_state(self._check, found.cid)
        return found.cid

    async def _check_state(self, check: Callable[[IBucket, Mapping[str, str]], Awaitable[None]], root: str) -> None:
        async def at_root() -> str:
            return root

        links = await self._contents.links(root)
        state = ReadOnlyBucket(self._contents, at_root, self._name, "it is one state of many")
        await check(state, {link.name: link.cid for link in links})
        self._checked = root

    async def _keep(self, root: str) -> None:
        """Fetch and pin what is small of a directory, serve it, and then let go of what was pinned before."""
        try:
            not_kept = await self._not_kept()
        except BucketError:
            if self._kept is None:  # what keeps us from reading it may be otherwise in the newer state
                self._root = root
            raise
        links = await self._contents.links(root)
        wanted = {root: False} | {link.cid: True for link in links if link.name not in not_kept}
        self._pins |= wanted
        await self._note()  # before, so that none is left behind by a crash
        for cid in wanted.keys() - self._certain:
            try:
                await self._network.pin(cid, recursive=wanted[cid])
            except AlreadyPinned:  # by somebody else, which is as good, and must not be removed with ours
                del self._pins[cid]
            self._certain.add(cid)
        self._root = self._kept = root
        await self._note()
        for cid in self._pins.keys() - wanted.keys():
            await self._let_go(cid)
        await self._note()

    async def _let_go(self, cid: str) -> None:
        self._certain.discard(cid)
        try:
            await self._network.unpin(cid, recursive=self._pins[cid])
        except (NotPinned, NotFound):
            pass
        except BucketError as error:
            self._log.info("{cid} stays pinned until a newer state is there: {error}", cid=cid, error=error)
            return
        del self._pins[cid]

    async def _note(self) -> None:
        noted = {"follow": self._name, "root": self._kept or self._root, "pins": self._pins}
        await self._file.write(noted)
