"""What a copy asks its places for, which are in memory here."""

from collections.abc import AsyncGenerator

import pytest
import pytest_twisted

from ipfsreg.client.errors import Unknown
from ipfsreg.client.referrers import referrers_tag
from ipfsreg.client.registry import RemoteManifest
from ipfsreg.client.uploading import From
from ipfsreg.copying.copier import Copier
from ipfsreg.copying.places import Selection
from ipfsreg.copying.tally import Tally
from ipfsreg.registry.descriptor import Descriptor
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.manifest import OCI_IMAGE
from ipfsreg.registry.names import Repository, Tag
from tests.web.served import descriptor, image

BOX = Repository("box")


class Memory:
    """A place with one repository, to copy from and to. ``asked`` is what it was asked for."""

    is_source = False

    def __init__(self, *, tags_list_referrers: bool) -> None:
        self.name = "memory"
        self.tags_list_referrers = tags_list_referrers
        self.manifests: dict[Tag | Digest, bytes] = {}
        self.listed: dict[Digest, list[Descriptor]] = {}
        self.blobs: dict[Digest, bytes] = {digest_of(b"{}"): b"{}"}
        self.asked: list[tuple[str, Tag | Digest]] = []
        self.sized: list[Digest] = []

    async def repositories(self) -> AsyncGenerator[Repository, None]:
        yield BOX

    async def tags(self, repository: Repository) -> AsyncGenerator[Tag | Digest, None]:
        for each in self.manifests:
            if not isinstance(each, Digest):
                yield each

    async def manifest(self, repository: Repository, reference: Tag | Digest) -> RemoteManifest:
        self.asked.append(("GET", reference))
        if reference not in self.manifests:
            raise Unknown("it is not there", 404)
        content = self.manifests[reference]
        return RemoteManifest(content, OCI_IMAGE, digest_of(content))

    async def manifest_head(self, repository: Repository, reference: Tag | Digest) -> Descriptor | None:
        self.asked.append(("HEAD", reference))
        content = self.manifests.get(reference)
        return None if content is None else Descriptor.of(OCI_IMAGE, content)

    async def put_manifest(
        self, repository: Repository, reference: Tag | Digest, content: bytes, media_type: str
    ) -> bool:
        self.manifests[reference] = self.manifests[digest_of(content)] = content
        return False

    async def referrers(self, repository: Repository, subject: Digest) -> list[Descriptor]:
        self.asked.append(("referrers", subject))
        return self.listed.get(subject, [])

    async def note_referrer(self, repository: Repository, subject: Digest, referrer: Descriptor) -> None:
        self.listed.setdefault(subject, []).append(referrer)

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        self.sized.append(digest)
        return len(self.blobs[digest]) if digest in self.blobs else None

    async def blob(self, repository: Repository, digest: Digest, size: int) -> AsyncGenerator[bytes, None]:
        if digest not in self.blobs:
            raise Unknown("it is not there", 404)
        yield self.blobs[digest]

    def blob_range(
        self, repository: Repository, digest: Digest, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        raise NotImplementedError

    async def mount(self, repository: Repository, digest: Digest, source: Repository) -> str | None:
        raise NotImplementedError

    async def upload(
        self, repository: Repository, digest: Digest, size: int, source: From, location: str | None = None
    ) -> None:
        self.blobs[digest] = b"".join([piece async for piece in source(0)])


def filled(*, tags_list_referrers: bool) -> tuple[Memory, list[bytes], bytes]:
    """Three images, and a signature of the second, which is listed by a tag too where that is said."""
    place = Memory(tags_list_referrers=tags_list_referrers)
    images = []
    for number in "123":
        layer = number.encode()
        content = image(layers=[layer])
        images.append(content)
        place.blobs[digest_of(layer)] = layer
        place.manifests[Tag(number)] = place.manifests[digest_of(content)] = content
    signature = image(subject=descriptor(images[1], OCI_IMAGE), artifactType="a/b")
    place.manifests[digest_of(signature)] = signature
    place.listed[digest_of(images[1])] = [Descriptor.of(OCI_IMAGE, signature)]
    if tags_list_referrers:
        place.manifests[referrers_tag(digest_of(images[1]))] = b"an index, which the copy makes anew"
    return place, images, signature


async def copy(source: Memory, destination: Memory, *names: str) -> Tally:
    tally = Tally()
    await Copier(source, destination, tally).run(Selection(names))
    assert not tally.failures
    return tally


@pytest.mark.parametrize("names", [(), ("box",), ("b*",), ("box:*",), ("box:2",)])
@pytest.mark.parametrize("by_tags", [True, False])
@pytest_twisted.ensureDeferred
async def test_referrers_come_along_and_who_has_seen_all_tags_asks_for_none(
    names: tuple[str, ...], by_tags: bool
) -> None:
    source, images, signature = filled(tags_list_referrers=by_tags)
    to = Memory(tags_list_referrers=False)
    await copy(source, to, *names)
    assert to.manifests[digest_of(signature)] == signature
    assert [each.digest for each in to.listed[digest_of(images[1])]] == [digest_of(signature)]
    asked = {subject for what, subject in source.asked if what == "referrers"}
    every = names != ("box:2",)
    if by_tags and every:
        assert asked == {digest_of(images[1])}
    else:
        assert asked == {*map(digest_of, images if every else images[1:2]), digest_of(signature)}


@pytest_twisted.ensureDeferred
async def test_what_is_there_is_not_read_and_what_is_not_there_is_asked_for_once() -> None:
    source, images, _ = filled(tags_list_referrers=True)
    to = Memory(tags_list_referrers=False)
    await copy(source, to)
    tags = [Tag(number) for number in "123"]
    assert sorted(each for each in source.asked if each[1] in tags) == [("GET", each) for each in tags]
    source.asked.clear()
    tally = await copy(source, to)
    assert tally.images_there == len(images)
    assert sorted(each for each in source.asked if each[1] in tags) == [("HEAD", each) for each in tags]


@pytest_twisted.ensureDeferred
async def test_a_blob_that_was_lost_at_the_destination_comes_again() -> None:
    """The manifest is there, and is no proof that all below it is."""
    source, images, _ = filled(tags_list_referrers=False)
    to = Memory(tags_list_referrers=False)
    await copy(source, to)
    lost = digest_of(b"2")
    del to.blobs[lost]
    again = await copy(source, to)
    assert to.blobs[lost] == b"2"
    assert (again.images_there, again.blobs, again.manifests) == (2, 1, 0)
    to.sized.clear()
    assert (await copy(source, to)).images_there == len(images)
    assert sorted(to.sized) == sorted(to.blobs)  # each once


@pytest_twisted.ensureDeferred
async def test_a_blob_that_both_sides_have_lost_is_a_failure() -> None:
    source, _, _ = filled(tags_list_referrers=False)
    to = Memory(tags_list_referrers=False)
    await copy(source, to)
    lost = digest_of(b"2")
    del to.blobs[lost], source.blobs[lost]
    tally = Tally()
    await Copier(source, to, tally).run(Selection())
    assert [each["name"] for each in tally.failures] == ["box:2"]
    assert (tally.images_there, tally.blobs) == (2, 0)
