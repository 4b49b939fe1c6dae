"""Buckets that have an owner, on a real bucket daemon: what others may do, and what they are told."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from ipfsreg.bucket.errors import NotFound, Refused
from ipfsreg.bucket.textile.capacity import EMPTY
from ipfsreg.bucket.textile.proto import bucketsd_pb2
from ipfsreg.bucket.textile.server.client import BUCKETS
from ipfsreg.bucket.textile.server.errors import TokenRefused, Unresolved, translate
from ipfsreg.bucket.textile.server.identity import Identity, save_identity
from ipfsreg.bucket.textile.sharing import grant, list_roles, revoke
from ipfsreg.grpcweb.errors import GrpcError
from ipfsreg.grpcweb.metadata import Metadata
from ipfsreg.grpcweb.status import GrpcStatus
from tests.bucket.running import running
from tests.bucket.textile.backend import LIMIT, Backend
from tests.bucket.textile.registry import TextileServed, logged, text_of
from tests.daemon_process import program
from tests.grpcweb_double.peer import call

from .backend import as_double, served, unique
from .pushing import Acknowledged, layer, push
from .servers import TextileServer

OWNER, MATE = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2))


def identity_file(directory: Path, identity: Identity) -> Path:
    file = directory / f"{identity.public_key}.identity"
    if not file.exists():
        save_identity(identity, file)
    return file


@asynccontextmanager
async def team(buckd: TextileServer, directory: Path, **more: Any) -> AsyncIterator[tuple[Backend, Backend]]:
    """Two backends on one bucket, which is the first one's, and has the file ``d/f``."""
    thread = unique()
    owner, mate = (
        Backend(
            as_double(buckd),
            directory / identity.public_key,
            identity_file=identity_file(directory, identity),
            thread=thread,
            **more,
        )
        for identity in (OWNER, MATE)
    )
    async with running(owner):
        await owner.bucket.put("d/f", b"x")
        async with running(mate):
            yield owner, mate


async def share(registry: TextileServed, *arguments: str) -> tuple[str, str, int | None]:
    """Run ``ipfsreg share …`` beside the daemon."""
    command = ["share", *arguments, "--config", str(registry.directory / "ipfsreg.ini")]
    output, errors, status = await getProcessOutputAndValue(program("ipfsreg"), command, env=dict(os.environ))
    return output.decode(), errors.decode(), status


@pytest_twisted.ensureDeferred
async def test_a_role_on_a_repository_without_referrers(buckd: TextileServer, tmp_path: Path) -> None:
    identity = identity_file(tmp_path, OWNER)
    async with served(tmp_path / "a", buckd, thread=unique(), identity_file=identity) as owner:
        assert await push(owner, "team/app", "1", [layer(1_000)], Acknowledged()) == []
        for arguments in (["grant", "--repository", "team/app", MATE.public_key, "writer"], ["list"]):
            if arguments == ["list"]:
                arguments += ["--repository", "team/app"]
            output, errors, status = await share(owner, *arguments)
            assert (status, errors) == (0, "")
            assert f"writer  {MATE.public_key}\n" in output


@pytest_twisted.ensureDeferred
async def test_what_is_asked_of_no_path(buckd: TextileServer, tmp_path: Path) -> None:
    """Of roles the server says the same where there is no path, and where it cannot read it."""
    async with team(buckd, tmp_path) as (owner, _):
        shard = owner.textile.shards.first
        request = bucketsd_pb2.PullPathAccessRolesRequest(key=shard.key, path="none")
        with pytest.raises(Unresolved):
            await shard.call("PullPathAccessRoles", request, bucketsd_pb2.PullPathAccessRolesResponse)
        with pytest.raises(NotFound):
            await list_roles(shard, "none")


@pytest.mark.parametrize("role", ["writer", "admin"])
@pytest_twisted.ensureDeferred
async def test_a_role_allows_no_new_file(role: str, buckd: TextileServer, tmp_path: Path) -> None:
    """What docs/textile.md says: all daemons that push are the owner."""
    async with team(buckd, tmp_path) as (owner, mate):
        await grant(owner.textile.shards.first, MATE.public_key, role)
        with pytest.raises(Refused, match="no role allows a new file"):
            await mate.bucket.put("d/new", b"x")
        await mate.bucket.put("d/f", b"mate's")
        assert await owner.bucket.get("d/f", LIMIT) == b"mate's"
        if role == "admin":
            await mate.bucket.remove("d/f")
        else:
            with pytest.raises(Refused, match="role"):
                await mate.bucket.remove("d/f")


@pytest_twisted.ensureDeferred
async def test_without_a_role_on_a_private_bucket_nothing_is_absent(buckd: TextileServer, tmp_path: Path) -> None:
    async with team(buckd, tmp_path, encrypted=True) as (owner, mate):
        attempts: list[Deferred[Any]] = [
            *(mate.bucket.list(path) for path in ("d", "none")),
            *(mate.bucket.stat(path) for path in ("d/f", "none")),
            *(mate.bucket.get(path, LIMIT) for path in ("d/f", "none")),
        ]
        for attempt in attempts:
            with pytest.raises(Refused, match="no role there"):
                await attempt
        with pytest.raises(Refused, match="its repositories have no roles"):
            await grant(owner.textile.shards.first, MATE.public_key, "reader", "d")


@pytest_twisted.ensureDeferred
async def test_a_daemon_without_a_role_says_so(buckd: TextileServer, tmp_path: Path) -> None:
    thread = unique()
    more: dict[str, Any] = {"thread": thread, "encrypted": True}
    async with served(tmp_path / "a", buckd, identity_file=identity_file(tmp_path, OWNER), **more) as owner:
        assert await push(owner, "box", "1", [layer(1_000)], Acknowledged()) == []
        with logged() as events:
            async with served(tmp_path / "b", buckd, identity_file=identity_file(tmp_path, MATE), **more) as mate:
                for target in ("/v2/box/manifests/1", "/v2/box/tags/list", "/v2/_catalog"):
                    assert (await mate.ask("GET", target)).status == 502
        assert f"identity_file has no role there: the bucket ipfsreg belongs to {OWNER.public_key}" in text_of(events)
        assert "should be otherwise" not in text_of(events)


@pytest_twisted.ensureDeferred
async def test_a_role_that_is_taken_away_while_the_daemon_runs(buckd: TextileServer, tmp_path: Path) -> None:
    async with team(buckd, tmp_path) as (owner, mate):
        assert await mate.bucket.get("d/f", LIMIT) == b"x"
        with pytest.raises(NotFound):
            await mate.bucket.get("d/none", LIMIT)
        await revoke(owner.textile.shards.first, "*")
        attempts: list[Deferred[Any]] = [mate.bucket.list("d"), mate.bucket.stat("d/f"), mate.bucket.get("d/f", LIMIT)]
        for attempt in attempts:
            with pytest.raises(Refused, match="no role there"):
                await attempt


async def unary(buckd: TextileServer, metadata: dict[str, str]) -> None:
    """Call the buckets service by hand, and raise what its refusal becomes."""
    answer = await call(buckd.port, f"/{BUCKETS}/List", metadata, bucketsd_pb2.ListRequest())
    assert answer.status is not None
    raise translate(GrpcError(GrpcStatus(answer.status), answer.text, Metadata()), "List")


@pytest_twisted.ensureDeferred
async def test_a_token_that_the_server_does_not_know(buckd: TextileServer, tmp_path: Path) -> None:
    async with team(buckd, tmp_path) as (owner, _):
        shard = owner.textile.shards.first
        metadata = owner.client._metadata
        for bad in ("x.y.z", f"{metadata._token[:-8]}AAAAAAAA", metadata._token.rpartition(".")[0]):
            with pytest.raises(TokenRefused, match="thread token"):
                await unary(buckd, {"x-textile-thread": shard.thread, "authorization": f"bearer {bad}"})
            metadata.set_token(bad)
            assert await owner.bucket.get("d/f", LIMIT) == b"x"


@pytest_twisted.ensureDeferred
async def test_what_an_empty_bucket_has(buckd: TextileServer, tmp_path: Path) -> None:
    """What it does not take, none does, and so no other is made."""
    async with running(Backend(as_double(buckd), tmp_path, thread=unique())) as backend:
        await backend.textile.shards.first.ensure()
        assert backend.textile.shards.first.capacity.paths == EMPTY
