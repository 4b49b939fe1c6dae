"""Whether content is what its digest says: all of it is read and hashed."""

from dataclasses import dataclass

from ipfsreg.bucket.errors import Corrupt, NotFound
from ipfsreg.bucket.interface import IBucket
from ipfsreg.flow.throttle import Throttle
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.digest import Digest, new_hash

from .reading import hash_content


@dataclass(frozen=True, slots=True)
class Checked:
    """What was read. ``length`` is in bytes."""

    whole: bool
    length: int


async def check_content(
    bucket: IBucket, workers: Workers, digest: Digest, throttle: Throttle | None = None
) -> Checked | None:
    """Read content and compare it with its digest. None where there is none."""
    try:
        reader = await bucket.open(layout.blob(digest))
    except NotFound:
        return None
    except Corrupt:
        if bucket.shared:
            raise  # it may have been the way
        return Checked(False, 0)  # no file is in the content's place
    try:
        hash_ = new_hash(digest.algorithm)
        length = await hash_content(workers, reader, hash_, throttle)
    except Corrupt:
        return Checked(False, 0)  # the disk cannot read it, or it became shorter
    finally:
        reader.close()
    return Checked(hash_.hexdigest() == digest.hex, length)
