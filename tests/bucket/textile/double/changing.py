"""The methods that change a bucket without taking content in.

See docs/protocols/textile.md, "Buckets", "Changing" and "Roles".
"""

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from ipfsreg.bucket.textile.proto import bucketsd_pb2
from tests.grpcweb_double.call import UNKNOWN, Call, RpcError

from .bucket import ADMIN, WRITER, Bucket
from .buckets_base import BucketsBase, clean_path, identity_of, segments_of, with_root, within
from .identity import parse_public_key
from .metadata import Entry
from .tree import SEED, Directory, File, Node, files_below


class Changing(BucketsBase):
    """Create, Remove, SetPath, MovePath, RemovePath, and the access roles."""

    @asynccontextmanager
    async def changed(self, call: Call, key: str, loading: str = "") -> AsyncIterator[Bucket]:
        """A draft of a bucket, with the lock held; saved unless the block fails.

        :param loading: what the method says that it was doing where there is no such bucket.
        """
        thread = self.thread_of(call, loading)
        async with self.world.buckets.locked(call, key):
            with within(loading):
                draft = self.world.buckets.load(key, thread).draft()
            yield draft
            await self.world.buckets.save(call, draft)

    async def Create(self, call: Call, request: bucketsd_pb2.CreateRequest) -> bytes:
        thread = self.thread_of(call, "creating bucket in thread")
        world = self.world
        if request.unfreeze and not world.powergate:
            raise RpcError(UNKNOWN, "archiving feature is disabled")
        if request.unfreeze:
            return bucketsd_pb2.CreateResponse(retrieval_id=secrets.token_hex(16)).SerializeToString()
        bootstrap = self._bootstrap(request.bootstrap_cid) if request.bootstrap_cid else None
        await call.sleep(world.faults.create_seconds)
        call.check()
        bucket = world.buckets.create(thread, request.name, identity_of(call), private=request.private)
        if bootstrap is not None:
            root = world.ipfs.encrypt(bootstrap) if bucket.private else bootstrap
            assert isinstance(root, Directory)
            bucket.root = world.ipfs.with_seed(world.content, root)
        seed = bucket.root.entries[SEED]
        assert isinstance(seed, File)
        response = bucketsd_pb2.CreateResponse(
            links=self.links(bucket),
            seed=seed.content.read(0, 32),
            seed_cid=seed.cid,
            pinned=bucket.root.dag_size,
        )
        return with_root(1, bucket) + response.SerializeToString()

    def _bootstrap(self, cid: str) -> Directory:
        node = self.find_cid(cid, "bootstrap")
        if node is None:
            raise RpcError(UNKNOWN, "merkledag: not found")
        if not isinstance(node, Directory):
            raise RpcError(UNKNOWN, "invalid bootstrap cid: not a directory")
        return node

    async def Remove(self, call: Call, request: bucketsd_pb2.RemoveRequest) -> bucketsd_pb2.RemoveResponse:
        thread = self.thread_of(call)
        async with self.world.buckets.locked(call, request.key):
            bucket = self.world.buckets.load(request.key, thread)
            bucket.permit(ADMIN, "", identity_of(call))
            await call.sleep(self.world.faults.save_seconds)
            self.world.buckets.remove(request.key)
        return bucketsd_pb2.RemoveResponse()

    async def SetPath(self, call: Call, request: bucketsd_pb2.SetPathRequest) -> bucketsd_pb2.SetPathResponse:
        path = clean_path(request.path)
        async with self.changed(call, request.key, "get bucket") as draft:
            draft.permit(WRITER, path, identity_of(call))
            before = draft.root.dag_size
            node = self.find_cid(request.cid, "remote")
            if node is None:
                await call.until_cancelled()  # the real server looks for it on the network, also where it has none
            assert node is not None
            if draft.private:
                node = self.world.ipfs.encrypt(node)
            self._set(draft, path, node)
        return bucketsd_pb2.SetPathResponse(pinned=draft.root.dag_size - before)

    def _set(self, draft: Bucket, path: str, node: Node) -> None:
        """Put a node at a path, which leaves one entry of metadata for all below it.

        See docs/protocols/textile.md, "Changing".
        """
        names = segments_of(path)
        if names:
            draft.root = self.world.ipfs.put(draft.root, names, node)
        elif isinstance(node, Directory):
            draft.root = self.world.ipfs.with_seed(self.world.content, node)
        else:
            raise RpcError(UNKNOWN, "not a directory")
        if names:
            draft.metadata.remove_below(f"{path}/")
        else:
            for known in [known for known in draft.metadata if known]:
                draft.metadata.remove(known)
        draft.metadata.touch(path, self.world.buckets.now())

    async def MovePath(self, call: Call, request: bucketsd_pb2.MovePathRequest) -> bucketsd_pb2.MovePathResponse:
        source, target = clean_path(request.from_path), clean_path(request.to_path)
        async with self.changed(call, request.key, "getting path") as draft:
            if not segments_of(source):
                raise RpcError(UNKNOWN, "source is root directory")
            node = self.resolve(draft, source)
            if source != target:
                self._move(draft, source, self._destination(draft, node, source, target), node, call)
        return bucketsd_pb2.MovePathResponse()

    def _destination(self, draft: Bucket, node: Node, source: str, target: str) -> str:
        try:
            there: Node | None = self.resolve(draft, target)
        except RpcError:
            there = None
        if isinstance(there, Directory):
            name = segments_of(source)[-1]
            return f"{target}/{name}" if target else name
        if there is not None and isinstance(node, Directory):
            raise RpcError(UNKNOWN, "not a directory")
        return target

    def _move(self, draft: Bucket, source: str, target: str, node: Node, call: Call) -> None:
        with within("verifying bucket update"):
            draft.permit(WRITER, target, identity_of(call))
        self._set(draft, target, self.world.ipfs.encrypt_again(node) if draft.private else node)
        if source.startswith(target) or target.startswith(source):
            # Taken for a move between a directory and what is in it, which is not cleaned up.
            return
        draft.root = self.world.ipfs.put(draft.root, segments_of(source), None)
        draft.metadata.remove_below(source)

    async def RemovePath(self, call: Call, request: bucketsd_pb2.RemovePathRequest) -> bytes:
        path = clean_path(request.path)
        async with self.changed(call, request.key) as draft:
            draft.check_root(request.root)
            known = draft.metadata.get(path) is not None
            if known:
                draft.permit(ADMIN, path, identity_of(call))
            before = draft.root.dag_size
            names = segments_of(path)
            if not names and not draft.private:
                raise RpcError(UNKNOWN, "no link by that name")
            if draft.private:
                try:
                    self.resolve(draft, path)
                except RpcError as error:
                    raise RpcError(UNKNOWN, f"remove node failed: {error.text}") from None
            if names:
                draft.root = self.world.ipfs.put(draft.root, names, None)
            else:  # of a private bucket, which is empty then
                draft.root = self.world.ipfs.empty_directory(True)
            if not known:  # a directory: its owner's alone to remove
                with within("saving bucket"):
                    draft.permit(ADMIN, path, identity_of(call))
            # No slash is added, as in the real server: `a/v1` takes the metadata of `a/v1.2` away too.
            draft.metadata.remove_below(path)
        response = bucketsd_pb2.RemovePathResponse(pinned=draft.root.dag_size - before)
        return with_root(1, draft) + response.SerializeToString()

    async def PushPathAccessRoles(
        self, call: Call, request: bucketsd_pb2.PushPathAccessRolesRequest
    ) -> bucketsd_pb2.PushPathAccessRolesResponse:
        path = clean_path(request.path)
        async with self.changed(call, request.key) as draft:
            for name in request.roles:
                _check_role_name(name)
            draft.permit(ADMIN, path, identity_of(call))
            before = draft.root.dag_size
            node = self.resolve(draft, path)
            now = self.world.buckets.now()
            entry = draft.metadata.get(path) or Entry(now)
            roles = {**entry.roles, **request.roles}
            entry = replace(entry, updated_at=now, roles={name: role for name, role in roles.items() if role})
            if draft.private:
                entry = replace(entry, key=base64.b64encode(secrets.token_bytes(64)).decode())
                names = segments_of(path)
                if names:
                    draft.root = self.world.ipfs.put(draft.root, names, self.world.ipfs.encrypt_again(node))
                else:
                    # The real server links what it has encrypted anew under an empty name instead of replacing the
                    # root: what is there stays under the old key, and that is gone.
                    draft.under_lost_key |= set(files_below(draft.root))
            draft.metadata.set(path, entry)
        return bucketsd_pb2.PushPathAccessRolesResponse(pinned=draft.root.dag_size - before)

    async def PullPathAccessRoles(
        self, call: Call, request: bucketsd_pb2.PullPathAccessRolesRequest
    ) -> bucketsd_pb2.PullPathAccessRolesResponse:
        bucket = self.load_to_read(call, request.key)
        path = clean_path(request.path)
        try:
            self.resolve_to_read(bucket, path)
        except RpcError:  # for whatever reason
            raise RpcError(UNKNOWN, f"could not resolve path: {path}") from None
        roles = bucket.metadata.roles(path)
        return bucketsd_pb2.PullPathAccessRolesResponse(roles=roles)  # type: ignore[arg-type]


def _check_role_name(name: str) -> None:
    if name != "*":
        try:
            parse_public_key(name)
        except ValueError as error:
            raise RpcError(UNKNOWN, f"unmarshaling role public key: {error}") from None
