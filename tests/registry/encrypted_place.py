"""A registry over an encrypted directory of this disk."""

from ipfsreg.bucket.capabilities import Capabilities
from ipfsreg.bucket.encrypted.backend import encrypted_backend
from ipfsreg.bucket.local.bucket import LocalBucket
from ipfsreg.bucket.opened import Opened
from ipfsreg.registry.registry import OnIpfs, Registry
from ipfsreg.registry.runtime import Runtime
from ipfsreg.registry.visibility import Visibility
from tests.bucket.encrypted.keys import FIXED, own_key

from .place import Place


async def _known() -> None:
    """The keys are those of the tests."""


class EncryptedPlace(Place):
    """As `Place`, encrypted."""

    async def start(self, *, shared: bool = False) -> Place:
        below = LocalBucket(self.directory, self.workers)
        below.shared = shared
        plain = Opened(below, ipfs=Capabilities(list_top=None if shared else below.list_top))
        backend = encrypted_backend(plain, lambda: own_key(FIXED), FIXED, _known, self.workers, self.directory)
        self.bucket = backend.bucket
        self.registry = Registry(
            self.bucket,
            self.directory,
            Runtime(self.workers, self.clock),
            self.limits,
            OnIpfs(backend.ipfs, False, False, Visibility(encrypted=backend.encrypted)),
        )
        await self.registry.start()
        return self
