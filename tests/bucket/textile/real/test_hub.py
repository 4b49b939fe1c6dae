"""Keys, identities and roles on a real hub."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from nacl.signing import SigningKey
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import LogEvent

from ipfsreg.bucket.textile.proto import bucketsd_pb2, usersd_pb2
from ipfsreg.bucket.textile.server.identity import Identity, save_identity
from tests.bucket.textile.double.accounts import ApiKey
from tests.bucket.textile.double.fixtures import metadata_of
from tests.bucket.textile.double.identity import public_key_string, to_base32
from tests.bucket.textile.registry import text_of
from tests.daemon_process import program
from tests.grpcweb_double.peer import Answer, call
from tests.web.served import MANIFEST_TYPE, Served, descriptor, digest_of, image

from .backend import served, unique
from .hub import Hub
from .pushing import Acknowledged, layer, push

BUCKETS, USERS = "/api.bucketsd.pb.APIService", "/api.usersd.pb.APIService"
SEED = b"\x07" * 32
MATE = SigningKey(SEED)


async def check_daemon(hub: Hub, key: ApiKey, directory: Path, **more: object) -> None:
    """An image is pushed, and read by a daemon that has nothing on its disk."""
    directory.mkdir(exist_ok=True)
    told = Acknowledged()
    async with served(directory / "a", hub, key, **more) as registry:
        assert await push(registry, "team/app", "1", [layer(300_000), layer(1_000)], told) == []
    async with served(directory / "b", hub, key, **more) as registry:
        await told.check(registry)


@pytest.mark.parametrize("encrypted", [False, True], ids=["public", "private"])
@pytest.mark.parametrize("secure", [False, True], ids=["without signature", "with signature"])
@pytest_twisted.ensureDeferred
async def test_an_account_key(hub: Hub, secure: bool, encrypted: bool, tmp_path: Path) -> None:
    key = await hub.add_key(secure=secure)
    shown = key if secure else replace(key, secret="")
    await check_daemon(hub, shown, tmp_path, encrypted=encrypted)


@pytest_twisted.ensureDeferred
async def test_a_user_group_key(hub: Hub, tmp_path: Path) -> None:
    """Everybody has buckets of their own; whoever has the identity has the images."""
    key = await hub.add_key(for_users=True)
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        identity = directory / "identity"
        save_identity(Identity.generate(), identity)
        async with served(directory / "new", hub, key, identity_file=identity) as registry:
            assert (await registry.ask("GET", "/v2/_catalog")).json() == {"repositories": []}
        await check_daemon(hub, key, directory, identity_file=identity, encrypted=name == "two")


@pytest_twisted.ensureDeferred
async def test_what_is_refused_is_named_and_no_404(hub: Hub, tmp_path: Path, log: list[LogEvent]) -> None:
    right, insecure, invalid, users = [
        await hub.add_key(secure=secure, for_users=for_users)
        for secure, for_users in ((True, False), (False, False), (False, False), (False, True))
    ]
    hub.invalidate(invalid)
    refused = {
        "[textile] secret is not the one of [textile] key": replace(right, secret=to_base32(bytes(24))),
        "[textile] secret": replace(right, secret=""),
        "[textile] key": invalid,
        "set [textile] identity_file": users,
        "is a hub and wants [textile] key": None,
    }
    for number, (text, key) in enumerate(refused.items()):
        log.clear()
        async with served(tmp_path / str(number), hub, key, thread=unique()) as registry:
            for method, target in (("GET", "/v2/box/manifests/1"), ("HEAD", f"/v2/box/blobs/{digest_of(b'none')}")):
                assert (await registry.ask(method, target)).status == 502, text
            assert (
                await registry.ask("POST", f"/v2/box/blobs/uploads/?digest={digest_of(b'x')}", None, b"x")
            ).status == 502
        assert text in text_of(log)
        assert right.secret not in text_of(log)
    # With the right one nothing was made meanwhile, and everything works.
    answer = await call(hub.server.port, f"{USERS}/ListThreads", metadata_of(right), usersd_pb2.ListThreadsRequest())
    assert answer.read(usersd_pb2.ListThreadsResponse).list == []
    await check_daemon(hub, insecure, tmp_path / "right")


class Team:
    """A public bucket of one identity of a user-group key, and another identity that calls it."""

    def __init__(self, hub: Hub, key: ApiKey, owner: SigningKey, registry: Served) -> None:
        self.hub = hub
        self.key = key
        self.registry = registry
        self.thread = ""
        self.bucket = ""
        self.owner = owner
        self.tokens: dict[SigningKey, str] = {}

    async def call(self, who: SigningKey, method: str, **fields: Any) -> Answer:
        """Call the buckets service by hand."""
        metadata = metadata_of(self.key, self.thread, self.tokens[who])
        request = getattr(bucketsd_pb2, f"{method}Request")(**fields)
        return await call(self.hub.server.port, f"{BUCKETS}/{method}", metadata, request)

    async def find(self, name: str) -> None:
        """Find the bucket in a thread."""
        self.tokens = {who: await self.hub.get_token(self.key, who) for who in (self.owner, MATE)}
        metadata = metadata_of(self.key, "", self.tokens[self.owner])
        answer = await call(
            self.hub.server.port, f"{USERS}/GetThread", metadata, usersd_pb2.GetThreadRequest(name=name)
        )
        self.thread = to_base32(answer.read(usersd_pb2.GetThreadResponse).id)
        answer = await self.call(self.owner, "List")
        (root,) = answer.read(bucketsd_pb2.ListResponse).roots
        self.bucket = root.key

    async def push(self, who: SigningKey, path: str, content: bytes) -> tuple[int | None, str]:
        """Push a file by hand: the call's status and text."""
        metadata = metadata_of(self.key, self.thread, self.tokens[who])
        header = bucketsd_pb2.PushPathRequest.Header(key=self.bucket, path=path)
        messages = [bucketsd_pb2.PushPathRequest(header=header), bucketsd_pb2.PushPathRequest(chunk=content)]
        answer = await call(self.hub.server.port, f"{BUCKETS}/PushPath", metadata, *messages)
        return answer.status, answer.text

    async def grant(self, *arguments: str) -> bool:
        """Run ``ipfsreg share grant …``; whether it succeeded."""
        return (await self.share("grant", *arguments))[0] == 0

    async def has(self, who: str, role: str, *arguments: str) -> bool:
        """Whether ``ipfsreg share list`` says so."""
        return f"{role}  {who}\n" in (await self.share("list", *arguments))[1]

    async def share(self, *arguments: str) -> tuple[int, str]:
        """Run ``ipfsreg share …`` beside the daemon: its status, and what it says."""
        command = ["share", *arguments, "--config", str(self.registry.directory / "ipfsreg.ini")]
        output, errors, status = await getProcessOutputAndValue(program("ipfsreg"), command, env=dict(os.environ))
        assert b"Traceback" not in output + errors
        return status, (output + errors).decode()


@pytest_twisted.ensureDeferred
async def test_roles(hub: Hub, tmp_path: Path) -> None:
    key = await hub.add_key(for_users=True)
    owner, thread, identity = SigningKey.generate(), unique(), tmp_path / "identity"
    save_identity(Identity.from_seed(bytes(owner)), identity)
    mate = public_key_string(MATE.verify_key)
    told = Acknowledged()
    async with served(tmp_path / "daemon", hub, key, identity_file=identity, thread=thread) as registry:
        for repository in ("team/app", "other"):
            assert await push(registry, repository, "1", [layer(1_000)], told) == []
            subject = descriptor(told.manifests[repository, "1"], MANIFEST_TYPE)
            assert (await registry.push(image(subject=subject), "signature", repository)).status == 201
        team = Team(hub, key, owner, registry)
        await team.find(thread)
        root = (await team.call(owner, "Root", key=team.bucket)).read(bucketsd_pb2.RootResponse).root
        assert root.owner == public_key_string(owner.verify_key)

        tags = [path for path in root.path_metadata if path.endswith("/_tags/1")]
        there = next(path for path in tags if "team/app" in path)
        elsewhere = next(path for path in tags if "other" in path)

        async def may(method: str, path: str) -> bool:
            if method == "PushPath":
                status, text = await team.push(MATE, path, b"replaced")
            else:
                answer = await team.call(MATE, method, key=team.bucket, path=path)
                status, text = answer.status, answer.text
            assert status == 0 or "permission denied" in text
            return status == 0

        assert not await may("PushPath", there)
        # A writer replaces what is there, and no more than that: a new path is the owner's business.
        assert await team.grant("--repository", "team/app", mate, "writer")
        assert await team.has(mate, "writer", "--repository", "team/app")
        assert await may("PushPath", there)
        assert not await may("PushPath", f"{there}0")
        assert not await may("PushPath", elsewhere)
        assert not await may("RemovePath", there)
        # An admin removes too.
        assert await team.grant("--repository", "team/app", mate, "admin")
        assert not await may("PushPath", f"{there}0")
        assert not await may("RemovePath", elsewhere)
        assert await may("RemovePath", there)
        # On all of the bucket, and back.
        assert await team.grant(mate, "writer")
        assert await team.has(mate, "writer")
        assert await may("PushPath", elsewhere)
        assert not await may("PushPath", f"{elsewhere}0")
        assert (await team.share("revoke", mate))[0] == 0
        assert not await may("PushPath", elsewhere)
