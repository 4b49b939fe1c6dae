"""What all methods of the daemon have in common: its state, its waiting, and finding buckets and what is in them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bucket.textile.double.bucket import Bucket, Buckets
from tests.bucket.textile.double.content import ContentStore
from tests.bucket.textile.double.tree import File, Ipfs
from tests.grpcweb_double.call import UNKNOWN, Call, RpcError

from .account import DEFAULT_BUCKET, Account, Record
from .faults import Faults
from .keys import AppToken
from .opened import OpenedFiles
from .settings import Patience

_POLL = 0.005
_NOT_INITIALISED = "textile client not initialized in expected time"
_NO_HUB = "textile client not initialized after 3 attempts"


@dataclass(slots=True)
class World:
    """All of a daemon's state."""

    buckets: Buckets
    ipfs: Ipfs
    content: ContentStore
    faults: Faults
    patience: Patience
    opened: OpenedFiles
    temporary: Path
    token: AppToken | None = None
    account: Account | None = None
    accounts: dict[str, Account] = field(default_factory=dict)
    """By public key: those of key pairs that were written over are still on the disk."""
    started: bool = True
    """Whether the daemon, once it has a key pair, gets through its initialisation."""
    hub: bool = True
    """Whether the hub answers."""
    hub_address: str = "/ip4/127.0.0.1/tcp/4006/p2p/12D3KooWHub"
    """Empty where none is set."""

    @property
    def initialised(self) -> bool:
        """Whether calls about buckets go through."""
        return self.started and self.account is not None


class SpaceBase:
    """Access to the daemon's state for one of the parts of the service."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def initialised(self, call: Call) -> Account:
        """Wait for the daemon.

        :raises RpcError: where it takes too long.
        """
        await self._wait(call, lambda: self.world.initialised, self.world.patience.initialised, _NOT_INITIALISED)
        assert self.world.account is not None
        return self.world.account

    async def hub_ready(self, call: Call) -> Account:
        """Wait for the daemon and for the hub.

        :raises RpcError: where either takes too long.
        """
        account = await self.initialised(call)
        await self._wait(call, lambda: self.world.hub, self.world.patience.hub, _NO_HUB)
        return account

    @staticmethod
    async def _wait(call: Call, ready: Callable[[], bool], seconds: float, text: str) -> None:
        end = call.clock.seconds() + seconds
        while not ready():
            left = end - call.clock.seconds()
            if left <= 0:
                raise RpcError(UNKNOWN, text)
            await call.sleep(min(_POLL, left))
            call.check()

    async def find(self, call: Call, slug: str) -> tuple[Record, Bucket]:
        """A bucket by its name, empty for the default one.

        :raises RpcError: where there is none; a record and a thread for the name are made all the same.
        """
        account = await self.initialised(call)
        return self.find_now(account, slug or DEFAULT_BUCKET)

    def find_now(self, account: Account, slug: str) -> tuple[Record, Bucket]:
        """`find` in an account."""
        record = account.record(slug)
        for bucket in self.world.buckets.list(record.thread):
            if bucket.name == slug:
                return record, bucket
        raise RpcError(UNKNOWN, f"bucket {slug} not found")

    def create_now(self, account: Account, slug: str) -> Bucket:
        """A bucket of an account, made where it is not there."""
        try:
            return self.find_now(account, slug)[1]
        except RpcError:
            # Public to the buckd, which therefore encrypts nothing: the daemon has done so.
            return self.world.buckets.create(account.record(slug).thread, slug, "")

    def link(self, record: Record, draft: Bucket, path: str, file: File | None) -> None:
        """Put a file at a plain path of a draft, or (None) take away what is there.

        :raises RpcError: where IPFS will not.
        """
        names = record.cipher.encrypt_path(path)
        if not names:
            raise RpcError(UNKNOWN, "path is required")
        draft.root = self.world.ipfs.put(draft.root, names, file)
        sealed = "/".join(names)
        if file is None:
            draft.metadata.remove_below(sealed)
        else:
            draft.metadata.touch(sealed, self.world.buckets.now())
