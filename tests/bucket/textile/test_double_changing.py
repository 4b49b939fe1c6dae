"""SetPath, MovePath, removals, roles and archives of the double, and their quirks.

See docs/protocols/textile.md, "Changing", "Roles" and "Archives".
"""

from typing import Any

import pytest
import pytest_twisted
from nacl.signing import SigningKey

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.peer import Answer, call, eventually, open_call

from .double import Synthetic, TextileDouble
from .double.accounts import ApiKey
from .double.bucket import DENIED
from .double.fixtures import metadata_of, textile_hub
from .double.identity import issue_token, public_key_string
from .test_double_buckets import Server, server

__all__ = ["server", "textile_hub"]

SERVICE = "/api.bucketsd.pb.APIService"
MEBIBYTE = 1024 * 1024


# SetPath.


@pytest_twisted.ensureDeferred
async def test_set_path_links_without_moving_data_and_across_buckets(server: Server) -> None:
    server.double.put_files(server.public, {"d/a": b"x" * 300000, "d/b": b"y"})
    twin = server.double.add_bucket(next(iter(server.double.threads.by_id.values())), "twin").key
    for path in ("d/a", "d", "d/b"):
        cid = (await server.ask("ListPath", key=server.public, path=path)).item.cid
        await server.ask("SetPath", key=twin, path=f"copy/{path}", cid=cid)
    assert await server.pull(twin, "copy/d/a") == (0, "", b"x" * 300000)
    assert await server.pull(twin, "copy/d/b") == (0, "", b"y")


@pytest_twisted.ensureDeferred
async def test_set_path_to_its_own_cid_collapses_metadata(server: Server) -> None:
    server.double.put_files(server.public, {f"blobs/{number}": b"x" for number in range(50)})
    server.double.put_files(server.public, {"blobs2": b"x"})
    size = server.bucket(server.public).document_size()
    assert len(server.metadata_paths(server.public)) == 52
    item = (await server.ask("ListPath", key=server.public, path="blobs")).item
    await server.ask("SetPath", key=server.public, path="blobs", cid=item.cid)
    assert server.metadata_paths(server.public) == {"", "blobs", "blobs2"}
    assert len(server.double.files(server.public)) == 51
    assert server.bucket(server.public).document_size() < size - 49 * 50


@pytest_twisted.ensureDeferred
async def test_set_path_in_a_private_bucket_wants_plaintext_in_dag_pb(server: Server) -> None:
    server.double.put_files(server.public, {"small": b"x", "d/large": b"y" * 300000})
    server.double.put_files(server.private, {"d/f": b"z" * 300000})
    small, large, directory = [
        (await server.ask("ListPath", key=server.public, path=path)).item.cid for path in ("small", "d/large", "d")
    ]
    refused = await server.call("SetPath", key=server.private, path="s", cid=small)
    assert refused.status == 2
    assert refused.text == "resolving remote path: expected protobuf dag node"
    await server.ask("SetPath", key=server.private, path="l", cid=large)
    await server.ask("SetPath", key=server.private, path="copy", cid=directory)
    assert await server.pull(server.private, "l") == (0, "", b"y" * 300000)
    assert await server.pull(server.private, "copy/large") == (0, "", b"y" * 300000)
    # A private item is taken for plaintext: what comes out is ciphertext, of a folder a file of it.
    own = (await server.ask("ListPath", key=server.private, path="d")).item.cid
    await server.ask("SetPath", key=server.private, path="d", cid=own)
    item = (await server.ask("ListPath", key=server.private, path="d")).item
    assert not item.is_dir
    assert "d/f" not in server.double.files(server.private)


@pytest_twisted.ensureDeferred
async def test_set_path_refusals(server: Server) -> None:
    answer = await server.call("SetPath", key=server.public, path="a", cid="nonsense")
    assert answer.text.startswith("invalid remote cid: ")
    elsewhere = "bafkreih6hsh3e2ey7kzvrn6fzkwd2v4s6r5srdzyw2rgv7xvn6xkk3kkzy"
    # What is not there is looked for, also by a node without a network.
    websocket = await server.open("SetPath")
    websocket.send_message(bucketsd_pb2.SetPathRequest(key=server.public, path="a", cid=elsewhere))
    websocket.finish()
    with pytest.raises(TimeoutError):
        await websocket.until_closed(0.2)
    assert server.double.buckets.is_locked(server.public)
    websocket.abort()
    await eventually(lambda: not server.double.buckets.is_locked(server.public))


@pytest_twisted.ensureDeferred
async def test_set_path_of_the_whole_bucket(server: Server) -> None:
    server.double.put_files(server.public, {"d/a": b"1", "b": b"2"})
    cid = (await server.ask("ListPath", key=server.public, path="d")).item.cid
    await server.ask("SetPath", key=server.public, path="", cid=cid)
    assert set(server.double.files(server.public)) == {"a"}
    assert server.metadata_paths(server.public) == {""}


# MovePath.


@pytest.mark.parametrize("private", [False, True])
@pytest_twisted.ensureDeferred
async def test_move_path(server: Server, private: bool) -> None:
    key = server.private if private else server.public
    server.double.put_files(key, {"d/a": b"1", "e/b": b"2"})
    await server.ask("MovePath", key=key, from_path="d/a", to_path="x/y")
    assert set(server.double.files(key)) == {"x/y", "e/b"}
    assert server.metadata_paths(key) == {"", "x/y", "e/b"}
    await server.ask("MovePath", key=key, from_path="x/y", to_path="e")
    assert set(server.double.files(key)) == {"e/y", "e/b"}
    await server.ask("MovePath", key=key, from_path="e/y", to_path="e/y")
    answer = await server.call("MovePath", key=key, from_path="", to_path="z")
    assert (answer.status, answer.text) == (2, "source is root directory")
    answer = await server.call("MovePath", key=key, from_path="e", to_path="e/b")
    assert answer.text == "not a directory"
    answer = await server.call("MovePath", key=key, from_path="none", to_path="z")
    assert answer.status == 2
    assert set(server.double.files(key)) == {"e/y", "e/b"}


@pytest_twisted.ensureDeferred
async def test_move_path_to_a_longer_name_leaves_the_source(server: Server) -> None:
    server.double.put_files(server.public, {"a/b": b"1"})
    await server.ask("MovePath", key=server.public, from_path="a/b", to_path="a/bc")
    assert set(server.double.files(server.public)) == {"a/b", "a/bc"}


# Removals.


@pytest.mark.parametrize("private", [False, True])
@pytest_twisted.ensureDeferred
async def test_remove_path_takes_metadata_of_everything_that_begins_so(server: Server, private: bool) -> None:
    key = server.private if private else server.public
    server.double.put_files(key, {"m/v1": b"1", "m/v1.2": b"2", "m/v2": b"3"})
    answer = await server.ask("RemovePath", key=key, path="/m/v1", root=server.bucket(key).path)
    assert answer.root.path == server.bucket(key).path
    assert set(server.double.files(key)) == {"m/v1.2", "m/v2"}
    assert server.metadata_paths(key) == {"", "m/v2"}
    before = server.bucket(key).path
    missing = await server.call("RemovePath", key=key, path="m/none")
    text = f"remove node failed: could not resolve path: {before}/m/none"
    assert (missing.status, missing.text) == (2, text if private else "no link by that name")
    for path in ("m/v1.2", "m/v2"):
        await server.ask("RemovePath", key=key, path=path)
    item = (await server.ask("ListPath", key=key, path="m")).item
    assert (item.is_dir, item.items_count) == (True, 0)


@pytest_twisted.ensureDeferred
async def test_remove_bucket(server: Server) -> None:
    await server.ask("Remove", key=server.public)
    assert [root.name for root in (await server.ask("List")).roots] == ["private"]
    assert (await server.call("Root", key=server.public)).text == "instance not found"


# Roles.


class Team:
    """A hub with a user-group key, a bucket, its owner, and another user."""

    def __init__(self, double: TextileDouble, private: bool) -> None:
        self.double = double
        self.key: ApiKey = double.accounts.add_key(for_users=True)
        self.owner, self.other = (public_key_string(SigningKey.generate().verify_key) for _ in range(2))
        thread = double.add_thread(key=self.key)
        thread.owner = self.owner
        self.thread = thread.id_string
        self.bucket = double.add_bucket(thread, private=private).key
        double.put_files(self.bucket, {"team/a": b"content", "own/b": b"content"})

    def metadata(self, user: str) -> dict[str, str]:
        token = issue_token(self.double.accounts.server_key, user, 0)
        return metadata_of(self.key, self.thread, token)

    async def call(self, user: str, method: str, **fields: Any) -> Answer:
        request = getattr(bucketsd_pb2, f"{method}Request")(key=self.bucket, **fields)
        return await call(self.double.port, f"{SERVICE}/{method}", self.metadata(user), request)

    async def push(self, user: str, path: str) -> Answer:
        websocket = await open_call(self.double.port, f"{SERVICE}/PushPath", self.metadata(user))
        fields = bucketsd_pb2.PushPathRequest.Header(key=self.bucket, path=path)
        websocket.send_message(bucketsd_pb2.PushPathRequest(header=fields))
        websocket.finish()
        await websocket.until_closed()
        return websocket.answer()


@pytest_twisted.ensureDeferred
async def test_roles_of_others(textile_hub: TextileDouble) -> None:
    team = Team(textile_hub, private=False)
    answer = await team.push(team.other, "team/new")
    assert (answer.status, answer.text) == (2, DENIED)
    grant = {team.other: bucketsd_pb2.PATH_ACCESS_ROLE_WRITER}
    answer = await team.call(team.other, "PushPathAccessRoles", path="team", roles=grant)
    assert answer.text == DENIED
    assert (await team.call(team.owner, "PushPathAccessRoles", path="team", roles=grant)).status == 0
    assert (await team.push(team.other, "team/a")).status == 0
    # What is there may be replaced. A new file is for the owner to add, whatever role others have.
    for path in ("team/new", "own/new", "own/b"):
        assert (await team.push(team.other, path)).text == DENIED
    assert (await team.call(team.other, "RemovePath", path="team/a")).text == DENIED
    roles = (await team.call(team.other, "PullPathAccessRoles", path="team/a")).read(
        bucketsd_pb2.PullPathAccessRolesResponse
    )
    assert dict(roles.roles) == {"*": 1, team.owner: 3, team.other: 2}
    revoke = {team.other: bucketsd_pb2.PATH_ACCESS_ROLE_NONE}
    assert (await team.call(team.owner, "PushPathAccessRoles", path="team", roles=revoke)).status == 0
    assert (await team.push(team.other, "team/a")).text == DENIED
    answer = await team.call(team.owner, "PushPathAccessRoles", path="team", roles={"bad": 1})
    assert answer.text.startswith("unmarshaling role public key: ")
    # What only the thread's owner may call at all.
    assert (await team.call(team.other, "Remove")).text == "User does not own thread"


@pytest_twisted.ensureDeferred
async def test_many_files_are_refused_by_header_or_at_the_end(textile_hub: TextileDouble) -> None:
    team = Team(textile_hub, private=False)
    for paths, status, text in [
        (["own/x"], 7, f"verifying bucket update: rpc error: code = Unknown desc = {DENIED}"),
        ([], 2, f"enqueueing file: verifying bucket update: rpc error: code = Unknown desc = {DENIED}"),
    ]:
        websocket = await open_call(team.double.port, f"{SERVICE}/PushPaths", team.metadata(team.other))
        fields = bucketsd_pb2.PushPathsRequest.Header(key=team.bucket, paths=paths)
        websocket.send_message(bucketsd_pb2.PushPathsRequest(header=fields))
        chunk = bucketsd_pb2.PushPathsRequest.Chunk(path="own/x")
        websocket.send_message(bucketsd_pb2.PushPathsRequest(chunk=chunk))
        websocket.finish()
        await websocket.until_closed()
        assert (websocket.answer().status, websocket.answer().text) == (status, text)
    assert set(textile_hub.files(team.bucket)) == {"team/a", "own/b"}


@pytest_twisted.ensureDeferred
async def test_roles_in_a_private_bucket_encrypt_again(textile_hub: TextileDouble) -> None:
    team = Team(textile_hub, private=True)
    # Who has no role anywhere is not even told that it is private.
    answer = await team.call(team.other, "PullPath", path="team/a")
    assert (answer.status, answer.text) == (2, "could not resolve path: team/a")
    answer = await team.call(team.other, "ListPath", path="team/a")
    assert answer.text.startswith('no link named "team" under ')
    root = (await team.call(team.other, "Root")).read(bucketsd_pb2.RootResponse).root
    assert (root.owner, root.link_key, root.HasField("metadata"), root.path_metadata) == (team.owner, "", False, {})
    before = textile_hub.files(team.bucket)
    size = textile_hub.bucket(team.bucket).document_size()
    grant = {team.other: bucketsd_pb2.PATH_ACCESS_ROLE_READER}
    assert (await team.call(team.owner, "PushPathAccessRoles", path="team", roles=grant)).status == 0
    after = textile_hub.files(team.bucket)
    assert before["team/a"].cid != after["team/a"].cid
    assert before["own/b"].cid == after["own/b"].cid
    entry = textile_hub.bucket(team.bucket).metadata.get("team")
    assert entry is not None
    assert len(entry.key) == 88
    assert textile_hub.bucket(team.bucket).document_size() > size + 88
    chunks = (await team.call(team.other, "PullPath", path="team/a")).messages
    assert bucketsd_pb2.PullPathResponse.FromString(chunks[0]).chunk == b"content"
    assert (await team.call(team.other, "PullPath", path="own/b")).text == "could not resolve path: own/b"
    answer = await team.call(team.other, "ListPath", path="own/b")
    assert answer.text == f"could not resolve path: {textile_hub.bucket(team.bucket).path}/own/b"
    root = (await team.call(team.other, "Root")).read(bucketsd_pb2.RootResponse).root
    assert (bool(root.link_key), root.HasField("metadata"), set(root.path_metadata)) == (
        True,
        False,
        {"team", "team/a"},
    )


@pytest_twisted.ensureDeferred
async def test_roles_on_all_of_a_private_bucket_destroy_it(textile_hub: TextileDouble) -> None:
    """As measured on a real buckd: docs/protocols/textile.md, "Roles"."""
    team = Team(textile_hub, private=True)
    grant = {team.other: bucketsd_pb2.PATH_ACCESS_ROLE_WRITER}
    assert (await team.call(team.owner, "PushPathAccessRoles", path="", roles=grant)).status == 0
    for user in (team.owner, team.other):
        answer = await team.call(user, "PullPath", path="team/a")
        assert (answer.status, answer.text) == (2, "message corrupt or incorrect password")
    # What comes after it is encrypted with the new key.
    assert (await team.push(team.owner, "team/a")).status == 0
    assert (await team.call(team.owner, "PullPath", path="team/a")).status == 0


# Archives.


@pytest_twisted.ensureDeferred
async def test_without_powergate_archiving_is_disabled(server: Server) -> None:
    for method in ("DefaultArchiveConfig", "SetDefaultArchiveConfig", "Archive", "ArchiveWatch"):
        answer = await server.call(method, key=server.public)
        assert (answer.status, answer.text) == (2, "archiving feature is disabled"), method
    assert not (await server.ask("Archives", key=server.public)).history
    answer = await server.call("Create", name="x", unfreeze=True)
    assert answer.text == "archiving feature is disabled"


@pytest_twisted.ensureDeferred
async def test_buckd_finds_every_archive_too_big() -> None:
    server = Server(TextileDouble(hub=False, powergate=True))
    answer = await server.call("Archive", key=server.public)
    assert (answer.status, answer.text) == (2, "archive size is too big, should be less than: 0 GiB")
    await server.double.stop()


@pytest_twisted.ensureDeferred
async def test_archive_of_a_hub_from_start_to_success() -> None:
    double = TextileDouble(hub=True, powergate=True).start()
    key = double.accounts.add_key()
    thread = double.add_thread(key=key)
    bucket = double.add_bucket(thread).key
    metadata = metadata_of(key, thread.id_string)

    async def ask(method: str, **fields: Any) -> Answer:
        request = getattr(bucketsd_pb2, f"{method}Request")(key=bucket, **fields)
        return await call(double.port, f"{SERVICE}/{method}", metadata, request)

    assert (await ask("ArchiveWatch")).text == "the bucket was never archived"
    assert (await ask("Archive")).text == "archive size is too small, should be greater than: 64 MiB"
    double.put_files(bucket, {"big": Synthetic(65 * MEBIBYTE)})
    config = (await ask("DefaultArchiveConfig")).read(bucketsd_pb2.DefaultArchiveConfigResponse)
    assert config.archive_config.rep_factor == 1
    too_many = bucketsd_pb2.ArchiveConfig(rep_factor=5)
    assert "rep factor" in (await ask("Archive", archive_config=too_many)).text
    double.world.wallet_empty = True
    assert (await ask("Archive")).text.startswith("wallet FIL balance is zero")
    double.world.wallet_empty = False
    assert (await ask("Archive")).status == 0
    assert (await ask("Archive")).text == "there is an in progress archive"
    watch = await open_call(double.port, f"{SERVICE}/ArchiveWatch", metadata)
    watch.send_message(bucketsd_pb2.ArchiveWatchRequest(key=bucket))
    watch.finish()
    await watch.until(lambda: len(watch.answer().messages) == 1)
    double.set_archive_status(bucket, bucketsd_pb2.ARCHIVE_STATUS_EXECUTING)
    await watch.until(lambda: len(watch.answer().messages) == 2)
    double.set_archive_status(bucket, bucketsd_pb2.ARCHIVE_STATUS_SUCCESS)
    await watch.until_closed()
    texts = [message.msg for message in watch.answer().read_all(bucketsd_pb2.ArchiveWatchResponse)]
    assert [text.split()[-1] for text in texts] == ["QUEUED", "EXECUTING", "SUCCESS"]
    assert watch.answer().status == 0
    assert (await ask("Archive")).text == "the same bucket cid is already archived successfully"
    double.put_files(bucket, {"more": b"x"})
    assert (await ask("Archive")).status == 0
    archives = (await ask("Archives")).read(bucketsd_pb2.ArchivesResponse)
    assert archives.current.archive_status == bucketsd_pb2.ARCHIVE_STATUS_QUEUED
    assert [job.archive_status for job in archives.history] == [bucketsd_pb2.ARCHIVE_STATUS_SUCCESS]
    await eventually(lambda: not double.calls.running())
    await double.stop()
