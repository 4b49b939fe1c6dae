"""Who else may use a bucket: roles of public keys, on all of it or on the paths below one.

What they mean, and where they do harm: docs/protocols/textile.md, "Roles".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ipfsreg.bucket.errors import NotFound, Refused
from ipfsreg.bucket.interface import check_path

from .paths import to_server
from .proto import bucketsd_pb2
from .server.bucket_calls import BucketCalls
from .server.identity import check_public_key

EVERYBODY = "*"

ROLES = {
    "none": bucketsd_pb2.PATH_ACCESS_ROLE_NONE,
    "reader": bucketsd_pb2.PATH_ACCESS_ROLE_READER,
    "writer": bucketsd_pb2.PATH_ACCESS_ROLE_WRITER,
    "admin": bucketsd_pb2.PATH_ACCESS_ROLE_ADMIN,
}
"""Each includes the ones before it."""


_NAMES = {int(number): name for name, number in ROLES.items()}


class NotShareable(Refused):
    """No role can be set there, whoever asks."""


async def grant(bucket: BucketCalls, who: str, role: str, path: str = "") -> None:
    """Give a role at a path, and by that below it, in place of the one that was given there before.

    In a private bucket the server encrypts all that is there anew, which takes as long as its size demands.

    :param who: a public key string, or ``*`` for everybody.
    :param role: a name in `ROLES`; ``none`` takes the role away.
    :param path: of a file or directory; empty for the whole bucket.
    :raises NotFound: where the path is not there.
    :raises Refused: for no public key, role or path; where the caller is no admin; for all of a private bucket; for a
        bucket without owner, as buckets are that were made without an identity: everybody may do everything there.
    """
    roles = {_checked(who): _role(role)}
    path = _at_server(bucket, path)
    await _find(bucket, path)
    await set_roles(bucket, path, roles)


def check_roles_can_be_set(root: bucketsd_pb2.Root, path: str) -> None:
    """See to it that a role at a path (empty for all of a bucket) means something, and destroys nothing.

    A role on all of a private bucket makes a server replace the key of its root without encrypting its content anew:
    nobody, its owner neither, can read it afterwards. Below the root the same call does no harm.

    :raises NotShareable: for a bucket without owner, and for the root of a private one.
    """
    if not root.owner:
        raise NotShareable(
            "the bucket was made without an identity: whoever reaches the server may do everything with it"
        )
    if root.link_key and not path:
        raise NotShareable(
            "the bucket is encrypted: a role on all of it would make its content unreadable for everybody, so none "
            "is given or taken away; nothing was changed"
        )


async def set_roles(bucket: BucketCalls, path: str, roles: Mapping[str, int]) -> None:
    """Set roles by public key or ``*`` at a path; those of others stay.

    This is the only place that makes the call, so that `check_roles_can_be_set` comes before each.
    """
    check_roles_can_be_set(await get_root(bucket), path)
    request = bucketsd_pb2.PushPathAccessRolesRequest(key=bucket.key, path=path, roles=roles)  # type: ignore[arg-type]
    await bucket.call("PushPathAccessRoles", request, bucketsd_pb2.PushPathAccessRolesResponse, slow=True)


async def revoke(bucket: BucketCalls, who: str, path: str = "") -> None:
    """Take away the role that was given at exactly this path; one that was given above it stays. See `grant`."""
    await grant(bucket, who, "none", path)


async def list_roles(bucket: BucketCalls, path: str = "") -> dict[str, str]:
    """The roles at a path, by public key string or ``*``: those given above it are among them.

    :raises NotFound: where the path is not there.
    """
    path = _at_server(bucket, path)
    await _find(bucket, path)
    request = bucketsd_pb2.PullPathAccessRolesRequest(key=bucket.key, path=path)
    found = await bucket.call("PullPathAccessRoles", request, bucketsd_pb2.PullPathAccessRolesResponse, slow=True)
    return {who: _NAMES.get(role, f"unknown ({role})") for who, role in sorted(found.roles.items())}


async def grant_in_all(buckets: Sequence[BucketCalls], who: str, role: str, *paths: str) -> dict[str, Any]:
    """`grant` at all of several paths that there are in all of several buckets; answers as `list_in_all`.

    Where one fails, those before it have the role already: doing it again does no harm.
    """
    found = False
    if "" in (paths or ("",)):
        for bucket in buckets:  # none gets the role where one must not
            check_roles_can_be_set(await get_root(bucket), "")
    for bucket in buckets:
        for path in paths or ("",):
            try:
                await grant(bucket, who, role, path)
                found = True
            except NotFound:
                continue
    if not found:
        raise NotFound(f"there is nothing at {', '.join(paths)}")
    return await list_in_all(buckets, *paths)


async def list_in_all(buckets: Sequence[BucketCalls], *paths: str) -> dict[str, Any]:
    """`list_roles` at all of several paths that there are in all of several buckets.

    Answers ``paths``, ``roles`` (public key or ``*`` to the least role that it has in any of them) and
    ``uneven``: those whose role is not the same in all of them, as when a grant was broken off, or when one of the
    paths came into being after it. Whoever made one of the buckets owns it, which says nothing about the others.

    :raises NotFound: where none has any of the paths.
    """
    listed: list[tuple[str, dict[str, str]]] = []
    for bucket in buckets:
        owner = (await get_root(bucket)).owner
        for path in paths or ("",):
            try:
                listed.append((owner, await list_roles(bucket, path)))
            except NotFound:
                continue
    if not listed:
        raise NotFound(f"there is nothing at {', '.join(paths)}")
    roles: dict[str, str] = {}
    uneven: list[str] = []
    for who in sorted(set().union(*(each for _, each in listed))):
        of_all = {each.get(who, "none") for owner, each in listed if who != owner}
        of_all = of_all or {each.get(who, "none") for _, each in listed}
        roles[who] = min(of_all, key=lambda name: ROLES.get(name, -1))
        if len(of_all) > 1:
            uneven.append(who)
    return {"paths": list(paths), "roles": roles, "uneven": uneven}


async def get_root(bucket: BucketCalls) -> bucketsd_pb2.Root:
    """A bucket as its server has it now.

    :raises Refused: as `check_shown` has it.
    """
    answer = await bucket.call("Root", bucketsd_pb2.RootRequest(key=bucket.key), bucketsd_pb2.RootResponse)
    check_shown(answer.root)
    return answer.root


def check_shown(root: bucketsd_pb2.Root) -> None:
    """See to it that a server does not hide a bucket from whoever asks.

    One that has an owner shows the metadata of its top directory to those with a role on all of it. To others
    a private one looks like a public one with nothing in it: nothing that is said of it then is an absence.

    :raises Refused: where it does.
    """
    if root.owner and not root.HasField("metadata"):
        raise Refused(
            f"[textile] identity_file has no role there: the bucket {root.name} belongs to {root.owner}, and is to be "
            "used with a copy of that identity's file"
        )


async def _find(bucket: BucketCalls, path: str) -> None:
    """Raise `NotFound` where a path is not there: of roles a server says the same of that and of its own failures."""
    if path:
        request = bucketsd_pb2.ListPathRequest(key=bucket.key, path=path)
        await bucket.call("ListPath", request, bucketsd_pb2.ListPathResponse)


def _checked(who: str) -> str:
    if who == EVERYBODY:
        return who
    try:
        return check_public_key(who)
    except ValueError as error:
        raise Refused(str(error)) from None


def _role(name: str) -> bucketsd_pb2.PathAccessRole:
    if name not in ROLES:
        raise Refused(f"{name!r} is no role; there are {', '.join(ROLES)}")
    return ROLES[name]


def _at_server(bucket: BucketCalls, path: str) -> str:
    if path:
        if bucket.folded:
            raise NotShareable(
                "the bucket is encrypted, so nobody but its owner can pull from it, and its repositories have no roles"
            )
        try:
            check_path(path)
        except ValueError as error:
            raise Refused(str(error)) from None
    return to_server(path)
