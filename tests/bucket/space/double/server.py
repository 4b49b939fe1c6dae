"""The double of a Space Daemon, to be started in a test or by ``python -m``."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from twisted.internet.defer import Deferred

from ipfsreg.bucket.space.proto import space_pb2
from tests.bucket.textile.double.bucket import Bucket, Buckets
from tests.bucket.textile.double.content import ContentStore
from tests.bucket.textile.double.tree import SEED, File, Ipfs, files_below
from tests.grpcweb_double.call import Call
from tests.grpcweb_double.server import DoubleServer, listen_now
from tests.grpcweb_double.settings import V0_13

from .access import Access
from .account import Account, Record
from .adding import Adding, SealedFile
from .base import World
from .faults import Faults
from .gateway import gateway_factory
from .keys import AppToken, KeyPair
from .managing import Managing
from .opened import OpenedFiles, Source
from .opening import Opening
from .settings import BUCKD, Limits, Patience
from .sharing import Sharing


class SpaceService(Access, Managing, Adding, Opening, Sharing):
    """``space.SpaceApi``, but for JoinBucket, OpenPublicFile and Subscribe."""


class SpaceDouble(DoubleServer):
    """A daemon with all its state. `start` makes it listen."""

    def __init__(
        self,
        *,
        set_up: bool = True,
        dies_when_touched: bool = True,
        limits: Limits | None = None,
        patience: Patience | None = None,
        reactor: Any = None,
    ) -> None:
        """`set_up`: with a token and a key pair, else as on the first day after its installation."""
        limits = limits or Limits()
        self.faults = Faults()
        super().__init__(V0_13, limits, self.faults, reactor)
        self.dies_when_touched = dies_when_touched
        """Whether a copy that was deleted, moved or written to ends the daemon: it closes its ports.

        Of the real one that is sure for none of these and likely for the first two. Without, the copy's new
        content goes into the bucket, and a deletion takes the file out of the bucket.
        """
        self.touched: list[tuple[Path, bool]] = []
        """The copies that somebody has touched, and whether they are gone: nobody should."""
        self._temporary = tempfile.TemporaryDirectory(prefix="space-double-")
        ipfs, content = Ipfs(limits.directory_block), ContentStore()
        self.world = World(
            Buckets(ipfs, content, self.faults, limits, BUCKD),
            ipfs,
            content,
            self.faults,
            patience or Patience(),
            OpenedFiles(self.reactor, self._touched),
            Path(self._temporary.name),
        )
        self.service = SpaceService(self.world)
        self.dispatcher.authorize = self._authorize
        self.dispatcher.add_service(space_pb2.DESCRIPTOR.services_by_name["SpaceApi"], self.service, set())
        self._gateway = gateway_factory(self.dispatcher)
        self._rest: Any = None
        self.rest_port = 0
        if set_up:
            self.world.token = AppToken.generate()
            self.service.take(KeyPair.generate())

    @property
    def rest_url(self) -> str:
        """Where the REST gateway is."""
        return f"http://{self.host}:{self.rest_port}"

    def start(self, listen: str = "tcp:0:interface=127.0.0.1") -> Self:
        """Listen, and let the REST gateway do so on the same interface."""
        super().start(listen)
        self._rest = listen_now(self.reactor, f"tcp:{self.rest_port}:interface={self.host}", self._gateway)
        self.rest_port = self._rest.getHost().port
        return self

    def _authorize(self, call: Call, request: Any, unary: bool) -> None:
        self.service.authorize(call)

    async def go_away(self) -> None:
        self.world.opened.stop()
        rest, self._rest = self._rest, None
        if rest is not None:
            await rest.stopListening()
        await super().go_away()

    def drop_connections(self) -> None:
        super().drop_connections()
        for protocol in list(self._gateway.protocols):
            protocol.transport.abortConnection()

    async def stop(self) -> None:
        try:
            await super().stop()
        finally:
            self.world.content.close()
            self._temporary.cleanup()

    # What happens to copies.

    def look_at_copies(self) -> None:
        """Notice now what was done to copies, instead of a tenth of a second later."""
        self.world.opened.look()

    def _touched(self, location: Path, source: Source, gone: bool) -> None:
        self.touched.append((location, gone))
        if self.dies_when_touched:
            dying = Deferred.fromCoroutine(self.go_away())
            dying.addErrback(self.dispatcher.failures.append)
        elif gone:
            self.remove_file(source.path, source.slug)
        else:
            self.put_files({source.path: location.read_bytes()}, source.slug)

    # For tests: past the network.

    @property
    def token(self) -> str:
        """The master token, as a user would write it.

        :raises LookupError: where there is none yet.
        """
        if self.world.token is None:
            raise LookupError("no master token yet")
        return str(self.world.token)

    @property
    def metadata(self) -> dict[str, str]:
        """What a client sends with each call."""
        return {"authorization": f"AppToken {self.token}"}

    @property
    def account(self) -> Account:
        """What hangs on the key pair.

        :raises LookupError: where there is none yet.
        """
        if self.world.account is None:
            raise LookupError("no key pair yet")
        return self.world.account

    def add_bucket(self, slug: str = "ddocker") -> Bucket:
        """A bucket of the account; the one there is, if there is."""
        return self.service.create_now(self.account, slug)

    def record(self, slug: str = "ddocker") -> Record:
        """What the account knows of a bucket.

        :raises KeyError: where nobody has ever named it.
        """
        return self.account.records[slug]

    def bucket(self, slug: str = "ddocker") -> Bucket:
        """A bucket as it was last saved.

        :raises KeyError: where there is none.
        """
        found = self.world.buckets.list(self.record(slug).thread)
        return {bucket.name: bucket for bucket in found}[slug]

    def junk(self) -> list[str]:
        """The slugs that were named without there being a bucket, so that there is a thread for nothing."""
        records = self.account.records.values()
        return [record.slug for record in records if not self.world.buckets.list(record.thread)]

    def files(self, slug: str = "ddocker") -> dict[str, File]:
        """All files of a bucket by plain path, ``.keep`` too."""
        found = files_below(self.bucket(slug).root)
        decrypt = self.record(slug).cipher.decrypt_name
        return {
            "/".join(decrypt(segment) for segment in path.split("/")): file
            for path, file in found.items()
            if path != SEED
        }

    def read(self, path: str, slug: str = "ddocker") -> bytes:
        """A file's whole content.

        :raises KeyError: where it is not there.
        """
        return b"".join(self.record(slug).cipher.opened(self.files(slug)[path].content))

    def put_files(self, files: Mapping[str, bytes], slug: str = "ddocker") -> Bucket:
        """Add files, saving once."""
        record, draft = self.record(slug), self.bucket(slug).draft()
        for path, content in files.items():
            sealed = SealedFile(self.world, record.cipher)
            sealed.write(content)
            self.service.link(record, draft, path, sealed.finish())
        self.world.buckets.save_now(draft)
        return draft

    def remove_file(self, path: str, slug: str = "ddocker") -> None:
        """Take a file or folder away.

        :raises RpcError: where it is not there.
        """
        draft = self.bucket(slug).draft()
        self.service.link(self.record(slug), draft, path, None)
        self.world.buckets.save_now(draft)
