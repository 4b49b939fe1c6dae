"""Publishing what is pushed, one image after the other, while pushes go on."""

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError
from ipfsreg.flow.background import Background
from ipfsreg.registry.digest import Digest
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.names import Repository
from ipfsreg.registry.visibility import Visibility

from .publishing import Publisher

UNPUBLISHED_MAX = 10_000
"""How many images wait at most. What is pushed meanwhile is logged, and not published."""


class PublishQueue:
    """Publishes the images that it is told of. What still waits when it is stopped is not published."""

    _log = Logger()

    def __init__(self, publisher: Publisher, visibility: Visibility) -> None:
        self._publisher = publisher
        self._visibility = visibility
        self._waiting: dict[tuple[Repository, Digest], None] = {}
        self._background = Background("publish what was pushed", self._publish_all)
        self._stopped = False

    def add(self, repository: Repository, digest: Digest) -> None:
        """Publish an image soon, unless its repository is hidden. Never fails."""
        if len(self._waiting) >= UNPUBLISHED_MAX or self._stopped:
            self._log.warn("{name} is not published: run `ipfsreg publish {name}`.", name=f"{repository}@{digest}")
            return
        self._waiting[repository, digest] = None
        self._background.start()

    def stop(self) -> None:
        """Publish no more."""
        self._stopped = True
        self._background.stop()
        if self._waiting:
            names = ", ".join(f"{repository}@{digest}" for repository, digest in list(self._waiting)[:10])
            self._log.warn("{count} images are not published, such as {names}.", count=len(self._waiting), names=names)

    async def _publish_all(self) -> None:
        while self._waiting:
            repository, digest = next(iter(self._waiting))
            await self._publish(repository, digest)
            self._waiting.pop((repository, digest), None)

    async def _publish(self, repository: Repository, digest: Digest) -> None:
        name = f"{repository}@{digest}"
        try:
            if self._visibility.hides(repository):
                return
            published = await self._publisher.publish(repository, digest)
        except (RegistryError, BucketError) as error:
            self._log.error("Could not publish {name}: {error}. Try `ipfsreg publish {name}`.", name=name, error=error)
        except CancelledError:
            raise
        except Exception:
            self._log.failure("Could not publish {name}", name=name)
        else:
            self._log.info("Published {name}: ipfs://{cid}", name=name, cid=published.cid)
