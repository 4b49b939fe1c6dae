"""The DAG of each content: kept at every push, of every size and algorithm, through restarts, damage and collection."""

import errno
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Event
from typing import TypeVar

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import Corrupt, Unavailable
from ipfsreg.ipfs.cid import parse_cid, raw_cid
from ipfsreg.ipfs.file_dag import FileDag
from ipfsreg.registry import layout
from ipfsreg.registry.content.cid_index import Holder
from ipfsreg.registry.content.dags import decode_dag
from ipfsreg.registry.digest import Digest, digest_of
from ipfsreg.registry.errors import ManifestUnknown
from ipfsreg.registry.ipfs.blocks import Located
from ipfsreg.registry.ipfs.image_parts import cids_of
from ipfsreg.registry.manifest import OCI_IMAGE
from ipfsreg.registry.names import Repository, Tag, parse_reference
from tests.registry.place import Place, image, pause
from tests.registry.uploads.uploading import CONTENT, REPOSITORY, Open

T = TypeVar("T")

MiB = 1024 * 1024
OTHER = Repository("other")
DIGEST = digest_of(CONTENT)


def leaves(content: bytes) -> bytes:
    chunks = [content[begin : begin + MiB] for begin in range(0, len(content), MiB)] or [b""]
    return b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)


def cid_of(content: bytes) -> str:
    return str(FileDag(leaves(content), len(content)).cid)


def dag_file(place: Place, digest: Digest = DIGEST) -> Path:
    return place.files / layout.dag(digest)


async def find(place: Place, cid: str) -> Located | None:
    return await place.registry.blocks.find(parse_cid(cid), lambda repository: True)


async def read(place: Place, cid: str) -> bytes:
    located = await find(place, cid)
    assert located is not None
    opened = await place.registry.blocks.open(located)
    assert opened is not None
    try:
        return await opened.read()
    finally:
        opened.close()


@pytest.mark.parametrize("length", [0, 1, MiB - 1, MiB, MiB + 1, 3 * MiB, len(CONTENT)])
@pytest_twisted.ensureDeferred
async def test_a_push_keeps_it_where_the_digest_does_not_say_it(place: Place, length: int) -> None:
    content = CONTENT[:length].ljust(length, b"?")
    digest = await place.push_blob(REPOSITORY, content)
    assert await place.registry.dags.cid_text(digest, length) == cid_of(content)
    if length <= MiB:
        assert cid_of(content) == str(raw_cid(bytes.fromhex(digest.hex)))
        assert not dag_file(place, digest).exists()
    else:
        dag = decode_dag(dag_file(place, digest).read_bytes())
        assert (dag.leaves, dag.size, str(dag.cid)) == (leaves(content), length, cid_of(content))


@pytest_twisted.ensureDeferred
async def test_content_with_another_digest_has_the_cid_of_its_sha256(place: Place) -> None:
    for content in (b"short", CONTENT):
        digest = digest_of(content, "sha512")
        upload = await place.registry.uploads.begin(REPOSITORY)
        await place.append(upload, content)
        await upload.commit(digest)
        assert await place.registry.dags.cid_text(digest, len(content)) == cid_of(content)
        assert dag_file(place, digest).exists()
        dag = FileDag(leaves(content), len(content))
        assert await read(place, cid_of(content)) == (dag.block(dag.root) if dag.root.level else content)


@pytest_twisted.ensureDeferred
async def test_manifests_have_one_too(place: Place) -> None:
    await place.push_blob(REPOSITORY, b"{}")
    long = image(b"{}", annotations={"padding": "x" * (2 * MiB)})
    for content, algorithm in ((image(b"{}"), "sha256"), (image(b"{}"), "sha512"), (long, "sha256")):
        digest = digest_of(content, algorithm)
        await place.registry.manifests.put(REPOSITORY, content, OCI_IMAGE, digest, [])
        assert await place.registry.dags.cid_text(digest, len(content)) == cid_of(content)
        (part,) = await cids_of(place.registry.manifests, place.registry.blobs, REPOSITORY, digest, with_parts=False)
        assert (part.digest, part.cid, part.size) == (str(digest), cid_of(content), len(content))
    assert await read(place, str(raw_cid(hashlib.sha256(image(b"{}")).digest()))) == image(b"{}")


@pytest_twisted.ensureDeferred
async def test_an_upload_that_a_restart_interrupted(place: Place) -> None:
    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT[: MiB + 5])
    await place.restart()
    upload = place.registry.uploads.find(REPOSITORY, upload.identifier)
    await place.append(upload, CONTENT[MiB + 5 :])
    await upload.commit(DIGEST)
    assert await place.registry.dags.cid_text(DIGEST, len(CONTENT)) == cid_of(CONTENT)


@pytest_twisted.ensureDeferred
async def test_it_is_there_before_the_link(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be stored there is no link, and the client's next try stores both."""
    put = place.bucket.put

    def refuse(path: str, content: bytes) -> "Deferred[None]":
        return fail(Unavailable("away")) if path.startswith("dags/") else put(path, content)

    upload = await place.registry.uploads.begin(REPOSITORY)
    await place.append(upload, CONTENT)
    with monkeypatch.context() as patch:
        patch.setattr(place.bucket, "put", refuse)
        with pytest.raises(Unavailable):
            await upload.commit(DIGEST)
    assert not (place.files / layout.blob_link(REPOSITORY, DIGEST)).exists()
    await upload.commit(DIGEST)
    assert dag_file(place).exists()
    assert await place.registry.blobs.size(REPOSITORY, DIGEST) == len(CONTENT)


@pytest_twisted.ensureDeferred
async def test_content_without_one_gets_it_when_somebody_asks(place: Place) -> None:
    """As an older ipfsreg left it."""
    await place.push_image(REPOSITORY, ["1"], b"{}", CONTENT)
    dag_file(place).unlink()
    (place.directory / "cids.sqlite").unlink()
    await place.restart()
    assert await place.registry.dags.cid_text(DIGEST, len(CONTENT)) is None
    registry = place.registry
    parts = await cids_of(registry.manifests, registry.blobs, *parse_reference(f"{REPOSITORY}:1"), with_parts=True)
    assert [part.cid for part in parts] == [cid_of(image(b"{}", CONTENT)), cid_of(b"{}"), cid_of(CONTENT)]
    assert decode_dag(dag_file(place).read_bytes()).leaves == leaves(CONTENT)
    assert await registry.dags.cid_text(DIGEST, len(CONTENT)) == cid_of(CONTENT)


@pytest_twisted.ensureDeferred
async def test_the_cids_of_an_index_and_of_what_is_missing(place: Place) -> None:
    one = await place.push_image(REPOSITORY, [], b"{}", b"layer")
    gone = await place.push_image(REPOSITORY, [], b"gone")
    index = await place.push_index(REPOSITORY, ["all"], one, gone)
    await place.registry.manifests.delete(REPOSITORY, digest_of(gone))
    await place.registry.blobs.delete(REPOSITORY, digest_of(b"layer"))
    registry = place.registry
    parts = await cids_of(registry.manifests, registry.blobs, REPOSITORY, Tag("all"), with_parts=True)
    assert {part.digest: part.cid for part in parts} == {
        str(digest_of(index)): cid_of(index),
        str(digest_of(one)): cid_of(one),
        str(digest_of(b"{}")): cid_of(b"{}"),
        str(digest_of(b"layer")): None,
        str(digest_of(gone)): None,
    }
    with pytest.raises(ManifestUnknown):
        await cids_of(registry.manifests, registry.blobs, REPOSITORY, Tag("none"), with_parts=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file[:-1],
        lambda file: file[:-1] + bytes((file[-1] ^ 1,)),
        lambda file: b"",
        lambda file: b"{}\n",
        lambda file: file.replace(b'"links":1024', b'"links":1023'),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_damaged_one_is_made_again(place: Place, damage: Callable[[bytes], bytes], log: list[LogEvent]) -> None:
    await place.push_blob(REPOSITORY, CONTENT)
    whole = dag_file(place).read_bytes()
    dag_file(place).write_bytes(damage(whole))
    await place.restart()
    assert await place.registry.blobs.cid(REPOSITORY, DIGEST) == cid_of(CONTENT)
    assert dag_file(place).read_bytes() == whole
    assert any("is no DAG" in formatEvent(event) for event in log)


@pytest_twisted.ensureDeferred
async def test_damaged_content_gets_no_cid(place: Place) -> None:
    await place.push_blob(REPOSITORY, CONTENT)
    dag_file(place).unlink()
    place.content_file(CONTENT).write_bytes(bytes(len(CONTENT)))
    await place.restart()
    with pytest.raises(Corrupt, match="not what its name says"):
        await place.registry.blobs.cid(REPOSITORY, DIGEST)
    assert not dag_file(place).exists()


@pytest_twisted.ensureDeferred
async def test_the_collector_takes_it_with_its_content(open_place: Open) -> None:
    place = await open_place(gc_grace=0.0, gc_untagged=0.0)
    await place.push_image(REPOSITORY, ["1"], b"{}", CONTENT)
    await place.registry.collector.run(grace=-1)
    assert dag_file(place).exists()
    assert await find(place, cid_of(CONTENT)) is not None
    await place.registry.manifests.delete_tag(REPOSITORY, Tag("1"))
    before = await place.registry.collector.run(dry_run=True, grace=-1)
    assert dag_file(place).exists()
    assert replace(await place.registry.collector.run(grace=-1), dry_run=True) == before
    assert before.contents == 3
    assert not dag_file(place).exists()
    await place.registry.cid_refresh.run()
    assert await find(place, cid_of(CONTENT)) is None
    assert await place.registry.dags.cid_text(DIGEST, len(CONTENT)) is None


@pytest_twisted.ensureDeferred
async def test_the_collector_takes_one_without_content(open_place: Open) -> None:
    place = await open_place(gc_grace=0.0)
    for repository in (REPOSITORY, OTHER):
        await place.push_image(repository, ["1"], b"{}", CONTENT)
    place.content_file(CONTENT).unlink()
    for repository in (REPOSITORY, OTHER):
        await place.registry.collector.run(grace=-1)
        assert dag_file(place).exists()  # somebody may push the content again
        await place.registry.manifests.delete_tag(repository, Tag("1"))
    await place.registry.collector.run(dry_run=True, grace=-1)
    assert dag_file(place).exists()
    await place.registry.collector.run(grace=-1)
    assert not dag_file(place).exists()


@pytest_twisted.ensureDeferred
async def test_every_block_is_found_and_is_what_it_should_be(place: Place) -> None:
    await place.push_image(REPOSITORY, ["1"], b"{}", CONTENT)
    await place.registry.cid_refresh.run()
    dag = FileDag(leaves(CONTENT), len(CONTENT))
    for node in dag.walk(dag.root):
        first, end = dag.range_at(node)
        expected = dag.block(node) if node.level else CONTENT[first:end]
        assert await read(place, str(dag.cid_at(node))) == expected
    assert await find(place, str(raw_cid(hashlib.sha256(b"nothing").digest()))) is None


@pytest_twisted.ensureDeferred
async def test_a_block_is_there_as_long_as_a_repository_has_it(place: Place) -> None:
    for repository in (REPOSITORY, OTHER):
        await place.push_blob(repository, CONTENT)
    await place.registry.cid_refresh.run()
    cid = cid_of(CONTENT)
    found = await find(place, cid)
    assert found is not None
    await place.registry.blobs.delete(found.holder.repository, DIGEST)
    again = await find(place, cid)
    assert again is not None
    assert again.holder.repository != found.holder.repository
    await place.registry.blobs.delete(again.holder.repository, DIGEST)
    assert await find(place, cid) is None
    assert place.content_file(CONTENT).exists()  # until it is collected


@pytest_twisted.ensureDeferred
async def test_many_repositories_that_have_it_no_more_do_not_hide_one_that_has(place: Place) -> None:
    """As where another daemon deleted it: the index is not told."""
    repositories = [Repository(f"r{number:02}") for number in range(40)]
    for repository in repositories:
        await place.push_blob(repository, b"blob")
    for repository in repositories[:-1]:
        (place.files / layout.blob_link(repository, digest_of(b"blob"))).unlink()
    await place.registry.used()  # what the index was told is written
    await place.restart()
    found = await find(place, cid_of(b"blob"))
    assert found is not None
    assert found.holder.repository == repositories[-1]


@pytest_twisted.ensureDeferred
async def test_the_index_is_made_again(place: Place) -> None:
    """While it is not complete, what it does not know may be there all the same."""
    await place.push_image(REPOSITORY, ["1"], b"{}", CONTENT)
    await place.registry.cid_refresh.run()
    missing = str(raw_cid(bytes(32)))
    assert await find(place, missing) is None
    await place.registry.stop()
    index = place.directory / "cids.sqlite"
    whole = index.read_bytes()
    for content in (None, b"", b"not a database" * 100, whole[:3000], whole[:5000] + b"?" * (len(whole) - 5000)):
        index.unlink() if content is None else index.write_bytes(content)
        await place.start()
        with pytest.raises(Unavailable):
            await find(place, missing)
        for _ in range(2):  # damage may show only when it is used
            try:
                await place.registry.cid_refresh.run()
                break
            except Unavailable:
                continue
        assert await find(place, missing) is None
        assert (await find(place, cid_of(CONTENT))) is not None
        assert (await find(place, cid_of(image(b"{}", CONTENT)))) is not None
        await place.registry.stop()
    await place.start()


@pytest_twisted.ensureDeferred
async def test_an_index_that_was_closed_needs_no_second_look(place: Place) -> None:
    await place.push_blob(REPOSITORY, b"blob")
    await place.registry.cid_refresh.run()
    await place.registry.stop()
    await place.start()
    assert place.registry.dags.index.complete
    await place.restart()  # as after a kill: nobody closed it
    assert not place.registry.dags.index.complete
    with pytest.raises(Unavailable):
        await find(place, cid_of(b"other"))
    assert await find(place, cid_of(b"blob")) is not None


@pytest_twisted.ensureDeferred
async def test_an_index_that_cannot_be_used_hinders_no_push(
    place: Place, monkeypatch: pytest.MonkeyPatch, log: list[LogEvent]
) -> None:
    def fail(*arguments: object) -> None:
        raise sqlite3.OperationalError(os.strerror(errno.ENOSPC))

    await place.registry.cid_refresh.run()
    with monkeypatch.context() as patch:
        patch.setattr("ipfsreg.registry.content.cid_table.in_transaction", fail)
        manifest = await place.push_image(REPOSITORY, ["1"], b"{}", CONTENT)
        assert await place.registry.dags.cid_text(DIGEST, len(CONTENT)) == cid_of(CONTENT)
        with pytest.raises(Unavailable):
            await find(place, cid_of(manifest))
    assert any("cannot be used" in formatEvent(event) for event in log)
    await place.registry.cid_refresh.run_if_needed()
    assert await find(place, cid_of(manifest)) is not None
    assert await find(place, cid_of(CONTENT)) is not None


@pytest_twisted.ensureDeferred
async def test_a_damaged_block_is_not_served(place: Place) -> None:
    await place.push_blob(REPOSITORY, CONTENT)
    with place.content_file(CONTENT).open("r+b") as file:
        file.seek(MiB + 7)
        file.write(bytes(10))
    dag = FileDag(leaves(CONTENT), len(CONTENT))
    good, bad = [str(raw_cid(dag.leaves[begin : begin + 32])) for begin in (0, 32)]
    assert await read(place, good) == CONTENT[:MiB]
    with pytest.raises(Corrupt, match=f"{DIGEST} is damaged between byte {MiB} and {2 * MiB}"):
        await read(place, bad)


@pytest_twisted.ensureDeferred
async def test_the_same_block_in_two_contents(place: Place) -> None:
    shared = Random(3).randbytes(MiB)
    one, two = shared + b"one", b"2" * MiB + shared
    for content in (one, two):
        await place.push_blob(REPOSITORY, content)
    cid = str(raw_cid(hashlib.sha256(shared).digest()))
    assert await read(place, cid) == shared
    await place.registry.blobs.delete(REPOSITORY, digest_of(one))
    assert await read(place, cid) == shared
    await place.push_blob(OTHER, shared)
    assert await read(place, cid) == shared


async def listed(found: AsyncIterator[T]) -> list[T]:
    return [each async for each in found]


@pytest_twisted.ensureDeferred
async def test_it_is_closed_while_it_is_being_used(place: Place) -> None:
    """What waits for its turn then finds it closed: it must not be at work in a thread meanwhile."""
    index = place.registry.dags.index
    held = [Holder(digest_of(b"%d" % number), REPOSITORY, is_manifest=False) for number in range(2000)]
    for _ in range(5):
        index.held(*held)
        asked = [Deferred.fromCoroutine(listed(index.blocks(bytes(32), lambda repository: True))) for _ in range(20)]
        closed = Deferred.fromCoroutine(index.close())
        asked += [Deferred.fromCoroutine(listed(index.blocks(bytes(32), lambda repository: True))) for _ in range(20)]
        for succeeded, result in await DeferredList(asked, consumeErrors=True):
            assert succeeded or (isinstance(result, Failure) and result.check(Unavailable))
        await closed
        await index.open()


@pytest_twisted.ensureDeferred
async def test_who_is_cancelled_does_not_give_up_its_turn_before_its_thread_is_done(place: Place) -> None:
    """Else the file is closed, or used by another, in the middle of it: SQLite takes the process down."""
    await place.push_blob(REPOSITORY, CONTENT)
    index = place.registry.dags.index
    thread_is_in, thread_may_go, thread_is_done = Event(), Event(), Event()

    def slowly(_: Repository) -> bool:
        thread_is_in.set()
        assert thread_may_go.wait(10)
        thread_is_done.set()
        return True

    asking = Deferred.fromCoroutine(listed(index.holders(DIGEST, slowly))).addErrback(lambda failure: None)
    while not thread_is_in.is_set():
        await pause(0.01)
    asking.cancel()
    closing = Deferred.fromCoroutine(index.close())
    await pause(0.05)
    assert not closing.called
    thread_may_go.set()
    await closing
    assert thread_is_done.is_set()


@pytest_twisted.ensureDeferred
async def test_what_is_pushed_while_it_is_closed_is_not_forgotten(place: Place) -> None:
    """A push may outlive the index at the daemon's end: the next daemon must not take the index for complete."""
    await place.registry.cid_refresh.run()
    for content in (b"short", CONTENT):
        await place.registry.dags.index.close()
        await place.push_blob(REPOSITORY, content)
        await place.start()
        assert not place.registry.dags.index.complete
        await place.registry.cid_refresh.run()
        assert await find(place, cid_of(content)) is not None
        assert place.registry.dags.index.complete


@pytest_twisted.ensureDeferred
async def test_a_pass_in_which_something_is_missed_completes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = place.registry.dags.index
    await index.begin_pass()
    with monkeypatch.context() as patch:
        patch.setattr("ipfsreg.registry.content.cid_index._nothing", fails_with(sqlite3.OperationalError("locked")))
        await place.push_blob(REPOSITORY, b"blob")
        with suppress(Unavailable):
            await index.settled()
    await index.end_pass()
    assert not index.complete
    await place.registry.cid_refresh.run_if_needed()
    assert index.complete
    assert await find(place, cid_of(b"blob")) is not None


@pytest_twisted.ensureDeferred
async def test_what_is_stored_behind_the_back_of_a_pass_stays(place: Place) -> None:
    """The index was told before the pass began; the link appears when the pass has gone by."""
    index = place.registry.dags.index
    holder = Holder(digest_of(b"blob"), REPOSITORY, is_manifest=False)
    index.held(holder)
    await place.registry.cid_refresh.run()
    assert await listed(index.holders(holder.digest, lambda repository: True)) == [holder]
    for _ in range(2):
        await place.registry.cid_refresh.run()
    assert await listed(index.holders(holder.digest, lambda repository: True)) == []


@pytest_twisted.ensureDeferred
async def test_a_blob_whose_cid_was_asked_for_in_vain_has_it_after_a_pass(place: Place) -> None:
    await place.push_blob(REPOSITORY, CONTENT)
    await place.registry.stop()
    (place.directory / "cids.sqlite").unlink()
    await place.start()
    assert await place.registry.dags.cid_text(DIGEST, len(CONTENT)) is None
    await place.registry.cid_refresh.run()
    assert await place.registry.dags.cid_text(DIGEST, len(CONTENT)) == cid_of(CONTENT)


def fails_with(error: Exception) -> Callable[..., None]:
    def fail(*arguments: object) -> None:
        raise error

    return fail
