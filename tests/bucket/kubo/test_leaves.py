"""The hashes of a content's leaves come from the node, where its DAGs have the form of the profile."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.interface import Stat
from ipfsreg.bucket.kubo.bucket import KuboBucket
from ipfsreg.bucket.kubo.node.leaves import KuboLeaves
from ipfsreg.ipfs.file_dag import PROFILE, BlockPlace, FileDag
from ipfsreg.registry import layout
from ipfsreg.registry.content import content_hash
from ipfsreg.registry.content.content_hash import leaves_of
from ipfsreg.registry.content.dags import decode_dag
from ipfsreg.registry.digest import parse_digest
from tests.bucket.running import running
from tests.web.served import digest_of

from .backend import Backend, unique_folder
from .front import Answer, Call, Front
from .node import KuboNode
from .test_registry import LARGE, KuboServed, serving


@pytest_twisted.async_yield_fixture()
async def backend(node: KuboNode, tmp_path: Path) -> AsyncIterator[Backend]:
    async with running(Backend(node.url, tmp_path / "state", path=unique_folder())) as backend:
        await backend.bucket.list("none")
        yield backend


def leaves_with(backend: Backend, cid: str, size: int) -> KuboLeaves:
    """What would be told of a file if it had that CID."""

    async def stat(_: str) -> Stat:
        return Stat(size, cid)

    assert isinstance(backend.bucket, KuboBucket)
    return KuboLeaves(backend.bucket.node, stat, backend.workers)


async def leaves_of_stored(backend: Backend, content: bytes) -> bytes | None:
    await backend.bucket.put_file("f", backend.spooled(content))
    teller = backend.opened.ipfs.teller
    assert teller is not None
    return await teller.leaves("f", len(content))


@pytest.mark.parametrize("length", [0, 1, PROFILE.chunk, PROFILE.chunk + 1, 3 * PROFILE.chunk, 3_500_000])
@pytest_twisted.ensureDeferred
async def test_they_are_those_of_the_content(backend: Backend, length: int) -> None:
    content = os.urandom(length)
    assert await leaves_of_stored(backend, content) == leaves_of(content)


@pytest_twisted.ensureDeferred
async def test_of_more_than_one_level(backend: Backend, node: KuboNode) -> None:
    """1025 MiB of zeros, of which each block is stored once."""
    size = 1025 * PROFILE.chunk
    leaves = hashlib.sha256(bytes(PROFILE.chunk)).digest() * 1025
    dag = FileDag(leaves, size)
    for place in dag.inner_nodes():
        node.command("block", "put", "--cid-codec=dag-pb", data=dag.block(place))
    assert await leaves_with(backend, str(dag.cid), size).leaves("f", size) == leaves
    # An inner node is a file as well, but not the one that was asked for.
    part = str(dag.cid_at(BlockPlace(1, 0)))
    assert await leaves_with(backend, part, size).leaves("f", size) is None


@pytest_twisted.ensureDeferred
async def test_another_form_is_not_taken_for_it(backend: Backend, node: KuboNode) -> None:
    content = os.urandom(3_000_000)
    for options in (
        {"--chunker": "size-262144"},
        {"--raw-leaves": "false"},
        {"--cid-version": "0"},
        {"--max-file-links": "2"},
        {"--hash": "blake3"},
    ):
        profile = {
            "--cid-version": "1",
            "--raw-leaves": "true",
            "--chunker": "size-1048576",
            "--max-file-links": "1024",
        }
        given = [f"{name}={value}" for name, value in {**profile, **options}.items()]
        cid = node.command("add", "-Q", *given, data=content).strip()
        assert await leaves_with(backend, cid, len(content)).leaves("f", len(content)) is None


@pytest.mark.parametrize(
    ("options", "version"),
    [({"chunker": "size-262144"}, ""), ({"max_file_links": 174}, ""), ({"cluster": True}, ""), ({}, "0.34.1")],
)
@pytest_twisted.ensureDeferred
async def test_where_the_node_makes_others_nothing_is_told(
    node: KuboNode, tmp_path: Path, options: dict[str, object], version: str
) -> None:
    with Front(node).running() as front:
        if version:
            front.hooks["version"] = lambda _: Answer(200, b'{"Version":"%s"}' % version.encode())
        async with running(Backend(front.url, tmp_path / "state", path=unique_folder(), **options)) as backend:
            await backend.answers()
            assert backend.opened.ipfs.teller is not None
            assert not backend.opened.ipfs.teller.tells()


class TestPushes:
    """A content's DAG is stored with it, whoever computed its hashes."""

    @pytest.mark.parametrize("section", [{}, {"chunker": "size-262144"}], ids=["by the node", "by the daemon"])
    @pytest_twisted.ensureDeferred
    async def test_the_dag_is_right(self, node: KuboNode, tmp_path: Path, section: dict[str, object]) -> None:
        content = os.urandom(LARGE)
        async with serving(KuboServed(tmp_path / "one", node.url, unique_folder(), **section)) as served:
            await served.answers()
            digest = await served.push_blob(content)
            stored = await served.daemon.registry.bucket.get(layout.dag(parse_digest(digest)), 1 << 20)
            assert decode_dag(stored).leaves == leaves_of(content)
            answer = await served.ask("HEAD", f"/v2/box/blobs/{digest}")
            assert answer.headers["x-ipfs-cid"] == [str(FileDag(leaves_of(content), len(content)).cid)]

    @pytest_twisted.ensureDeferred
    async def test_content_is_hashed_once(
        self, node: KuboNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashed: list[int] = []

        class Counted(content_hash.ContentHash):
            def update_chunks(self, data: bytes | bytearray | memoryview) -> None:
                if self.chunks:
                    hashed.append(len(data))
                super().update_chunks(data)

        monkeypatch.setattr("ipfsreg.registry.uploads.spool_writer.ContentHash", Counted)
        monkeypatch.setattr("ipfsreg.registry.content.dags.ContentHash", Counted)
        async with serving(KuboServed(tmp_path / "one", node.url, unique_folder())) as served:
            await served.answers()
            await served.push_blob(os.urandom(LARGE))
        assert not hashed

    @pytest_twisted.ensureDeferred
    async def test_a_node_that_fails_to_tell(self, node: KuboNode, tmp_path: Path) -> None:
        """The content is stored, and its hashes cannot be had: 503, and the client's next try goes on from there."""
        content = os.urandom(LARGE)
        failures: list[Call] = []

        def fails_once(call: Call) -> Answer | None:
            if failures:
                return None
            failures.append(call)
            return Answer(500, b'{"Message":"something unforeseen","Code":0,"Type":"error"}')

        with Front(node).running() as front:
            async with serving(KuboServed(tmp_path / "one", front.url, unique_folder())) as served:
                await served.answers()
                front.hooks["block/get"] = fails_once
                location = await served.begin_upload()
                assert (await served.ask("PATCH", location, None, content)).status == 202
                url = f"{location}?digest={digest_of(content)}"
                assert (await served.ask("PUT", url)).status == 503
                assert (await served.ask("PUT", url)).status == 201
                assert len(failures) == 1
                assert len(front.of("add")) < 6  # it was not sent a second time
                stored = await served.daemon.registry.bucket.get(layout.dag(parse_digest(digest_of(content))), 1 << 20)
                assert decode_dag(stored).leaves == leaves_of(content)
