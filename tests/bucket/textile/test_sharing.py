"""Roles on buckets, against the double."""

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import NotFound, Refused, Unavailable
from ipfsreg.bucket.textile.proto import bucketsd_pb2
from ipfsreg.bucket.textile.server.identity import Identity
from ipfsreg.bucket.textile.server.signing import CallMetadata
from ipfsreg.bucket.textile.sharing import grant, grant_in_all, list_in_all, list_roles, revoke
from ipfsreg.bucket.textile.tasks import TEXTILE_TASKS

from .double import TextileDouble
from .double.accounts import ApiKey
from .double.accounts import Identity as Caller
from .double.bucket import Bucket
from .double.fixtures import textile_buckd, textile_hub
from .double.threads import Thread
from .services import client_of, reactor, service_of

__all__ = ["textile_buckd", "textile_hub"]

MATE = Identity.from_seed(b"\x07" * 32)
OTHER = Identity.from_seed(b"\x08" * 32)
REPOSITORY = "repositories/team/app"
PATHS = f"{REPOSITORY}/_tags\n{REPOSITORY}/_blobs"


class Hub:
    """A hub with a key, and two buckets, of which the first has a repository."""

    def __init__(self, double: TextileDouble, key: ApiKey, thread: Thread, buckets: list[Bucket]) -> None:
        self.double = double
        self.key = key
        self.thread = thread
        self.buckets = buckets

    @property
    def metadata(self) -> CallMetadata:
        return CallMetadata(self.key.key, self.key.secret)

    @property
    def owner(self) -> str:
        return self.key.owner.public_key


@pytest.fixture
def hub(textile_hub: TextileDouble) -> Hub:
    key = textile_hub.accounts.add_key()
    thread = textile_hub.add_thread(key=key)
    buckets = [textile_hub.add_bucket(thread, name) for name in ("first", "second")]
    textile_hub.put_files("first", {f"{REPOSITORY}/_tags/1": b"x", "blobs/y": b"y"})
    return Hub(textile_hub, key, thread, buckets)


@pytest_twisted.ensureDeferred
async def test_grant_list_revoke(hub: Hub) -> None:
    async with client_of(hub.double, hub.metadata) as client:
        service = service_of(client, hub.buckets[0])
        assert await list_roles(service) == {"*": "reader", hub.owner: "admin"}
        await grant(service, MATE.public_key, "writer")
        await grant(service, OTHER.public_key, "admin", REPOSITORY)
        assert await list_roles(service) == {"*": "reader", hub.owner: "admin", MATE.public_key: "writer"}
        # Roles of the bucket count on the paths in it, not the other way round.
        assert (await list_roles(service, REPOSITORY))[MATE.public_key] == "writer"
        assert (await list_roles(service, f"{REPOSITORY}/_tags/1"))[OTHER.public_key] == "admin"
        assert OTHER.public_key not in await list_roles(service, "blobs")
        await grant(service, MATE.public_key, "reader")
        await grant(service, "*", "none")
        assert await list_roles(service) == {hub.owner: "admin", MATE.public_key: "reader"}
        await revoke(service, MATE.public_key)
        await revoke(service, OTHER.public_key, REPOSITORY)
        assert await list_roles(service, REPOSITORY) == {hub.owner: "admin"}


@pytest_twisted.ensureDeferred
async def test_what_was_granted_counts(textile_hub: TextileDouble) -> None:
    """An admin of a path may remove what is there, and is refused elsewhere."""
    key = textile_hub.accounts.add_key(for_users=True)
    mine = Identity.generate()
    async with client_of(textile_hub, CallMetadata(key.key, key.secret), mine) as client:
        await client.authorize()
        thread = textile_hub.threads.add(b"\x01\x55" + bytes(32), "team", Caller(mine.public_key, key.key))
        bucket = textile_hub.add_bucket(thread)
        textile_hub.put_files(bucket.key, {f"{REPOSITORY}/a": b"a", "other/b": b"b"})
        await grant(service_of(client, bucket), MATE.public_key, "admin", REPOSITORY)
    async with client_of(textile_hub, CallMetadata(key.key, key.secret), MATE) as client:
        service = service_of(client, bucket)

        async def remove(path: str) -> None:
            request = bucketsd_pb2.RemovePathRequest(key=bucket.key, path=path)
            await service.call("RemovePath", request, bucketsd_pb2.RemovePathResponse)

        with pytest.raises(Refused, match="role"):
            await remove("other/b")
        await remove(f"{REPOSITORY}/a")


@pytest.mark.parametrize(
    ("who", "role", "path", "text"),
    [
        ("somebody", "reader", "", "not a public key"),
        (MATE.private_key(), "reader", "", "not a public key"),
        ("", "reader", "", "not a public key"),
        (MATE.public_key, "owner", "", "no role"),
        (MATE.public_key, "reader", "../x", "not a path"),
        (MATE.public_key, "reader", "a//b", "not a path"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_makes_no_sense_is_refused_before_any_call(
    hub: Hub, who: str, role: str, path: str, text: str
) -> None:
    async with client_of(hub.double, hub.metadata) as client:
        with pytest.raises(Refused, match=text) as caught:
            await grant(service_of(client, hub.buckets[0]), who, role, path)
    assert hub.double.calls.calls == []
    assert MATE.private_key() not in str(caught.value)


@pytest_twisted.ensureDeferred
async def test_a_missing_path_is_not_there_and_an_outage_is_none(hub: Hub) -> None:
    async with client_of(hub.double, hub.metadata) as client:
        service = service_of(client, hub.buckets[0])
        for attempt in (grant(service, MATE.public_key, "reader", "missing"), list_roles(service, "missing")):
            with pytest.raises(NotFound):
                await attempt
        await hub.double.go_away()
        for attempt in (grant(service, MATE.public_key, "reader"), list_roles(service)):
            with pytest.raises(Unavailable):
                await attempt


@pytest_twisted.ensureDeferred
async def test_a_bucket_without_owner_is_refused(textile_buckd: TextileDouble) -> None:
    bucket = textile_buckd.add_bucket(textile_buckd.add_thread())
    async with client_of(textile_buckd, CallMetadata()) as client:
        with pytest.raises(Refused, match="without an identity"):
            await grant(service_of(client, bucket), MATE.public_key, "reader")


@pytest_twisted.ensureDeferred
async def test_a_private_bucket(hub: Hub) -> None:
    bucket = hub.double.add_bucket(hub.thread, "private", private=True)
    hub.double.put_files("private", {"blobs/x": b"x"})
    async with client_of(hub.double, hub.metadata) as client:
        service = service_of(client, bucket)
        await grant(service, MATE.public_key, "reader", "blobs")
        assert await list_roles(service, "blobs") == {hub.owner: "admin", MATE.public_key: "reader"}
        assert hub.double.read("private", "blobs/x") == b"x"


@pytest_twisted.ensureDeferred
async def test_all_of_a_private_bucket_is_refused_before_anything_is_changed(hub: Hub) -> None:
    """A real server answers OK, and nobody can read the bucket afterwards."""
    private = hub.double.add_bucket(hub.thread, "private", private=True)
    async with client_of(hub.double, hub.metadata) as client:
        services = [service_of(client, bucket) for bucket in (hub.buckets[0], private)]
        attempts = [
            grant(services[1], MATE.public_key, "writer"),
            revoke(services[1], MATE.public_key),
            grant_in_all(services, MATE.public_key, "reader"),
            grant_in_all(services, MATE.public_key, "reader", "blobs", ""),
            *(
                TEXTILE_TASKS["share-grant"](services, {"who": MATE.public_key, "role": role}, reactor)
                for role in ("reader", "none")
            ),
        ]
        for attempt in attempts:
            with pytest.raises(Refused, match=r"is encrypted: .* nothing was changed") as caught:
                await attempt
            assert "\n" not in str(caught.value)
    # The public one among them was not changed either.
    assert not hub.double.calls.of("PushPathAccessRoles")


@pytest_twisted.ensureDeferred
async def test_several_buckets_as_one(hub: Hub) -> None:
    async with client_of(hub.double, hub.metadata) as client:
        services = [service_of(client, bucket) for bucket in hub.buckets]
        everywhere = await grant_in_all(services, MATE.public_key, "writer")
        assert everywhere == {
            "paths": [],
            "roles": {"*": "reader", hub.owner: "admin", MATE.public_key: "writer"},
            "uneven": [],
        }
        # Only one of them has the path, which is enough.
        there = await grant_in_all(services, OTHER.public_key, "admin", REPOSITORY)
        assert there["roles"][OTHER.public_key] == "admin"
        # Half a grant is seen, with the lesser role.
        await grant(services[1], MATE.public_key, "admin")
        await grant(services[0], OTHER.public_key, "reader")
        found = await list_in_all(services)
        assert found["roles"][MATE.public_key] == "writer"
        assert found["roles"][OTHER.public_key] == "none"
        assert found["uneven"] == sorted([MATE.public_key, OTHER.public_key])
        for attempt in (grant_in_all(services, MATE.public_key, "reader", "none"), list_in_all(services, "none")):
            with pytest.raises(NotFound, match="nothing at none"):
                await attempt


@pytest_twisted.ensureDeferred
async def test_tasks(hub: Hub) -> None:
    async with client_of(hub.double, hub.metadata) as client:
        services = [service_of(client, hub.buckets[0])]
        granted = await TEXTILE_TASKS["share-grant"](
            services,
            {"who": MATE.public_key, "role": "writer", "paths": PATHS},
            reactor,
        )
        listed = await TEXTILE_TASKS["share-list"](services, {"paths": PATHS}, reactor)
        assert granted == listed
        assert listed["roles"][MATE.public_key] == "writer"
        assert MATE.public_key not in (await TEXTILE_TASKS["share-list"](services, {}, reactor))["roles"]
        with pytest.raises(Refused, match="role is missing"):
            await TEXTILE_TASKS["share-grant"](services, {"who": MATE.public_key}, reactor)
