"""The record of a manifest in a repository: a small JSON file beside the content."""

from functools import lru_cache

from pydantic import BaseModel, ConfigDict, ValidationError

from ipfsreg.bucket.errors import Corrupt, NotFound, TooLarge
from ipfsreg.bucket.interface import IBucket

from . import layout
from .digest import Digest
from .names import Repository

RECORD_MAX = 4096
"""The bytes of the longest record that is read."""


class Record(BaseModel):
    """What a repository notes of a manifest. Unknown fields of a later version are kept out, not refused."""

    model_config = ConfigDict(frozen=True)

    mediaType: str
    size: int
    released: float
    """When it was pushed, or last lost a tag: seconds since 1970. An untagged manifest is kept for a while."""
    discarded: bool = False
    """Whether its last tag was deleted on purpose, so that it need not be kept any longer."""
    original: bool = False
    """Whether it is one that the original program wrote, which has no record in the bucket; see `original`."""


def manifest_key(repository: Repository, digest: Digest) -> tuple[str, Repository, Digest]:
    """The guard's key of a manifest in a repository."""
    return ("manifest", repository, digest)


async def read_record(bucket: IBucket, repository: Repository, digest: Digest) -> Record | None:
    """A manifest's record, or None where the repository does not have the manifest.

    :raises Corrupt: where it says nothing sensible.
    """
    path = layout.manifest_record(repository, digest)
    try:
        content = await bucket.get(path, RECORD_MAX)
    except NotFound:
        return None
    except TooLarge:
        raise Corrupt(f"{path} is too long for a manifest's record") from None
    return parse_record(path, content)


def parse_record(path: str, content: bytes) -> Record:
    """A record that was read from ``path``. :raises Corrupt: where it says nothing sensible."""
    try:
        return _parsed(content)
    except ValidationError as error:
        raise Corrupt(f"{path} is not a manifest's record: {error.error_count()} errors") from None


@lru_cache(maxsize=1024)
def _parsed(content: bytes) -> Record:
    return Record.model_validate_json(content)


async def write_record(bucket: IBucket, repository: Repository, digest: Digest, record: Record) -> None:
    """Note a manifest, durably."""
    await bucket.put(*record_file(repository, digest, record))


def record_file(repository: Repository, digest: Digest, record: Record) -> tuple[str, bytes]:
    """A record's path and content."""
    return layout.manifest_record(repository, digest), record.model_dump_json().encode() + b"\n"
