"""Where each thing is in the bucket. ``docs/layout.md`` is this file for readers; keep the two together.

A component of a repository name never begins with ``_``, so a repository's own directories cannot collide with
the repositories below it. Hexadecimal names are spread over 256 directories by their first two digits.
"""

from collections.abc import AsyncIterator, Sequence

from ipfsreg.bucket.bulk import listings, names
from ipfsreg.bucket.errors import Corrupt
from ipfsreg.bucket.interface import Entry, IBucket, Listing

from .digest import HEX_LENGTHS, Digest, parse_digest
from .errors import DigestInvalid
from .names import NAME_MAX, Repository, Tag, is_component, is_tag

VERSION = 1
"""The number of this layout. A daemon refuses a bucket with a number that it does not know."""

VERSION_FILE = "layout-version"
ENCRYPTED = "encryption/bucket"
"""A file that an encrypted bucket has, and no other one (`ipfsreg.encryption.documents`)."""

REPOSITORIES = "repositories"
TOPS = ("blobs", "dags", REPOSITORIES, "quarantine")
"""The directories at the top of the bucket; `VERSION_FILE` is the only file there."""

DERIVED = ("dags",)
"""Those of them that can be made again."""

_BLOBS, _MANIFESTS, _TAGS, _REFERRERS = _KINDS = "_blobs", "_manifests", "_tags", "_referrers"


def _own(repository: Repository, kind: str) -> str:
    return f"{REPOSITORIES}/{repository}/{kind}"


def directories_of(repository: Repository) -> list[str]:
    """All that is a repository's own, and nothing of those below it."""
    return [_own(repository, kind) for kind in (_TAGS, _MANIFESTS, _BLOBS, _REFERRERS)]


def spread(digest: Digest) -> str:
    """A digest as the end of a path: its files are spread over directories."""
    return f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"


def blob(digest: Digest) -> str:
    """The content of a blob or manifest, once for all repositories."""
    return f"blobs/{spread(digest)}"


def dag(digest: Digest) -> str:
    """The DAG of a content that is not one block of that digest; see `dags`."""
    return f"dags/{spread(digest)}"


def quarantined(digest: Digest) -> str:
    """Where content goes that was found damaged."""
    return f"quarantine/{spread(digest)}"


def blob_link(repository: Repository, digest: Digest) -> str:
    """A small file that says that a repository has a blob, and how long the blob is."""
    return f"{_own(repository, _BLOBS)}/{spread(digest)}"


def manifest_record(repository: Repository, digest: Digest) -> str:
    """A small file that says that a repository has a manifest, its media type and its length."""
    return f"{_own(repository, _MANIFESTS)}/{spread(digest)}"


def tag(repository: Repository, name: Tag) -> str:
    """A small file with the digest that a tag points to."""
    return f"{tags_of(repository)}/{name}"


def tags_of(repository: Repository) -> str:
    """The directory of a repository's tags."""
    return _own(repository, _TAGS)


def referrer(repository: Repository, subject: Digest, digest: Digest) -> str:
    """A small file with the descriptor of a manifest that refers to a subject."""
    return f"{referrers(repository, subject)}/{digest.algorithm}-{digest.hex}"


def referrers(repository: Repository, subject: Digest) -> str:
    """The directory of all the descriptors that refer to a subject."""
    return f"{_own(repository, _REFERRERS)}/{spread(subject)}"


def all_blobs(bucket: IBucket) -> AsyncIterator[Digest]:
    """Each content in the bucket."""
    return _digests_below(bucket, "blobs")


def all_dags(bucket: IBucket) -> AsyncIterator[Digest]:
    """Each content whose DAG is stored."""
    return _digests_below(bucket, "dags")


def blob_links(bucket: IBucket, repository: Repository) -> AsyncIterator[Digest]:
    """The blobs that a repository has."""
    return _digests_below(bucket, _own(repository, _BLOBS))


def manifest_records(bucket: IBucket, repository: Repository) -> AsyncIterator[Digest]:
    """The manifests that a repository has."""
    return _digests_below(bucket, _own(repository, _MANIFESTS))


async def has_manifests(bucket: IBucket, repository: Repository) -> bool:
    """Whether a repository has any manifest, tagged or not."""
    return bool(await bucket.list(_own(repository, _MANIFESTS)))


async def is_there(bucket: IBucket, repository: Repository) -> bool:
    """Whether a repository has a manifest or a blob."""
    return await has_manifests(bucket, repository) or bool(await bucket.list(_own(repository, _BLOBS)))


async def tags(bucket: IBucket, repository: Repository) -> AsyncIterator[list[Tag]]:
    """The tags of a repository in any order, some at a time, damaged ones too. A name that is no tag is passed over."""
    async for some in names(bucket, tags_of(repository)):
        yield [Tag(name) for name in some if is_tag(name)]


def referring(entries: Sequence[Entry], after: Digest | None = None) -> list[Digest]:
    """The manifests that refer to a subject, from the entries of its directory; sorted, and from behind ``after``."""
    found = (digest for entry in entries if (digest := _referring(entry)) is not None)
    return sorted(digest for digest in found if after is None or digest > after)


async def referrer_entries(bucket: IBucket, repository: Repository) -> AsyncIterator[tuple[Digest, Digest]]:
    """Each subject of a repository with each manifest that is noted to refer to it."""
    directory = _own(repository, _REFERRERS)
    async for listing in listings(bucket, directory):
        parent, _, name = listing.directory.rpartition("/")
        subject = _spread_digest(directory, parent, name)
        if subject is None:
            continue
        for entry in listing.entries:
            digest = _referring(entry)
            if digest is not None:
                yield subject, digest


async def repositories(bucket: IBucket) -> AsyncIterator[Repository]:
    """The repositories that hold anything: a blob, a manifest or a tag.

    :raises Corrupt: where something strange has the place of a directory, for nobody knows what belongs below it.
    """
    async for listing in _repository_directories(bucket):
        for entry in listing.entries:
            _refuse_strange(listing, entry, to_be_directory=entry.name in _KINDS or is_component(entry.name))
        if listing.directory != REPOSITORIES and any(entry.name.startswith("_") for entry in listing.entries):
            yield _repository_at(listing)


async def repositories_with_manifests(bucket: IBucket) -> AsyncIterator[Repository]:
    """The repositories that have a manifest, tagged or not. What is strange is passed over."""
    async for listing in _repository_directories(bucket):
        if listing.directory != REPOSITORIES and any(entry.name == _MANIFESTS for entry in listing.entries):
            yield _repository_at(listing)


def _referring(entry: Entry) -> Digest | None:
    try:
        return parse_digest(entry.name.replace("-", ":", 1))
    except DigestInvalid:
        return None


def _repository_directories(bucket: IBucket) -> AsyncIterator[Listing]:
    return listings(bucket, REPOSITORIES, lambda path: is_component(path.rpartition("/")[2]))


def _repository_at(listing: Listing) -> Repository:
    return Repository(listing.directory.removeprefix(f"{REPOSITORIES}/"))


def _refuse_strange(listing: Listing, entry: Entry, *, to_be_directory: bool) -> None:
    if entry.strange:
        raise Corrupt(f"{listing.directory}/{entry.name} is neither a file nor a directory: remove it")
    if to_be_directory and not entry.is_directory:
        raise Corrupt(f"{listing.directory}/{entry.name} is a file, where a directory belongs: remove it")


def belongs(path: str, *, is_directory: bool) -> bool:
    """Whether something below one of the `TOPS` is what this layout has there, as far as its name tells."""
    top, *parts = path.split("/")
    if top != REPOSITORIES:
        return _is_spread(parts, is_directory=is_directory)
    own = next((number for number, part in enumerate(parts) if part.startswith("_")), len(parts))
    name, kind, below = parts[:own], parts[own : own + 1], parts[own + 1 :]
    if not all(map(is_component, name)) or len("/".join(name)) > NAME_MAX:
        return False
    if not below:
        return is_directory and (not kind or (bool(name) and kind[0] in _KINDS))
    if kind[0] == _TAGS:
        return len(below) == 1 and not is_directory and is_tag(below[0])
    if kind[0] != _REFERRERS:
        return _is_spread(below, is_directory=is_directory)
    if len(below) == 4:
        return not is_directory and _referring(Entry(below[3], is_directory)) is not None
    return is_directory and _is_spread(below, is_directory=len(below) < 3)


def _is_spread(parts: list[str], *, is_directory: bool) -> bool:
    """Whether this is the end of the path of a digest's file, or of a directory on the way to one."""
    if len(parts) == 3:
        return not is_directory and _spread_digest("", f"/{parts[0]}/{parts[1]}", parts[2]) is not None
    if not is_directory or not parts or parts[0] not in HEX_LENGTHS:
        return False
    return len(parts) == 1 or (len(parts) == 2 and len(parts[1]) == 2 and set(parts[1]) <= set("0123456789abcdef"))


async def _digests_below(bucket: IBucket, directory: str) -> AsyncIterator[Digest]:
    async for listing in listings(bucket, directory):
        for entry in listing.entries:
            digest = _spread_digest(directory, listing.directory, entry.name)
            if digest is None:
                path = f"{listing.directory}/{entry.name}"
                _refuse_strange(listing, entry, to_be_directory=belongs(path, is_directory=True))
            else:
                yield digest  # whatever is in the file's place: whoever reads it finds damage, and no absence


def _spread_digest(top: str, directory: str, name: str) -> Digest | None:
    """The digest of a name in the place where it belongs; None for whatever else may be there."""
    parts = directory.removeprefix(f"{top}/").split("/")
    try:
        digest = parse_digest(f"{parts[0]}:{name}")
    except DigestInvalid:
        return None
    return digest if f"{top}/{spread(digest)}" == f"{directory}/{name}" else None
