"""A real hub with accounts and keys: it takes no sign-ups any more, so they are written into its database."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson.binary import Binary
from nacl.signing import SigningKey

from ipfsreg.bucket.textile.proto import bucketsd_pb2, threads_pb2
from ipfsreg.bucket.textile.server.client import BUCKETS
from tests.bucket.running import pause
from tests.bucket.textile.double.accounts import Account, ApiKey
from tests.bucket.textile.double.fixtures import metadata_of
from tests.bucket.textile.double.identity import public_key_string, to_base32
from tests.grpcweb_double.peer import call, open_call

from .servers import DATABASE, TextileServer, running_server

_PUBLIC, _PRIVATE = b"\x08\x01\x12\x20", b"\x08\x01\x12\x40"
_RAW_THREAD = b"\x01\x55"
SECONDS = 30.0

_DEVELOPER = 0
_ACCOUNT_KEY, _USER_GROUP_KEY = 0, 1


class Hub:
    """A hub that runs, and who may use it. Keys and accounts are as the double's, so that tests take either."""

    def __init__(self, server: TextileServer) -> None:
        from pymongo import MongoClient  # takes long to load, and most have no such server

        self.server = server
        client: MongoClient[dict[str, Any]] = MongoClient(server.mongo.uri)
        self._database = client[DATABASE]
        self._reached = False
        self.close = client.close

    @property
    def url(self) -> str:
        """What ``[textile] host`` is to be."""
        return self.server.url

    async def add_key(self, *, secure: bool = True, for_users: bool = False) -> ApiKey:
        """A new API key of a new account: for the account itself, or for a group of its users."""
        if not self._reached:
            self._reached = True
            await self._await_buckets()
        made, signing = self._insert(secure=secure, for_users=for_users)
        # What the hub does when it signs somebody up: it asks itself for a token of the account.
        token = await self.get_token(made, signing)
        account = Binary(_PUBLIC + bytes(signing.verify_key))
        self._database.accounts.update_one({"_id": account}, {"$set": {"token": token}})
        return made

    async def _await_buckets(self) -> None:
        """As `TextileServer.await_buckets`: a hub asks itself only about a thread that the account has."""
        key = await self.add_key()
        thread = _RAW_THREAD + secrets.token_bytes(32)
        request = threads_pb2.NewDBRequest(db_id=thread, name="first")
        until = time.monotonic() + SECONDS
        while True:
            made = await call(self.server.port, "/threads.pb.API/NewDB", metadata_of(key), request)
            listing = metadata_of(key, to_base32(thread))
            found = await call(self.server.port, f"/{BUCKETS}/List", listing, bucketsd_pb2.ListRequest())
            if "connection error" not in made.text + found.text:
                return
            assert time.monotonic() < until, found.text
            await pause(0.1)

    def _insert(self, *, secure: bool, for_users: bool) -> tuple[ApiKey, SigningKey]:
        key, secret = to_base32(secrets.token_bytes(16)), to_base32(secrets.token_bytes(24))
        signing = SigningKey.generate()
        public = _PUBLIC + bytes(signing.verify_key)
        name = f"dev{secrets.token_hex(6)}"
        account = {
            "_id": Binary(public),
            "type": _DEVELOPER,
            "secret": Binary(_PRIVATE + bytes(signing) + bytes(signing.verify_key)),
            "email": f"{name}@example.org",
            "username": name,
            "created_at": datetime.now(UTC),
        }
        api_key = {
            "_id": key,
            "secret": secret,
            "owner_id": Binary(public),
            "type": _USER_GROUP_KEY if for_users else _ACCOUNT_KEY,
            "secure": secure,
            "valid": True,
            "created_at": datetime.now(UTC),
        }
        self._database.accounts.insert_one(account)
        self._database.apikeys.insert_one(api_key)
        return ApiKey(key, secret, Account(name, public_key_string(signing.verify_key)), for_users, secure), signing

    async def get_token(self, key: ApiKey, identity: SigningKey) -> str:
        """A token of an identity, which is whoever has its private key."""
        websocket = await open_call(self.server.port, "/threads.pb.API/GetToken", metadata_of(key))
        websocket.send_message(threads_pb2.GetTokenRequest(key=public_key_string(identity.verify_key)))
        await websocket.until(lambda: bool(websocket.answer().messages), SECONDS)
        (challenge,) = websocket.answer().read_all(threads_pb2.GetTokenReply)
        signature = identity.sign(challenge.challenge).signature
        websocket.send_message(threads_pb2.GetTokenRequest(signature=signature))
        websocket.finish()
        await websocket.until_closed(SECONDS)
        answer = websocket.answer()
        assert answer.status == 0, answer.text
        return answer.read_all(threads_pb2.GetTokenReply)[-1].token

    def invalidate(self, key: ApiKey) -> None:
        """What `hub keys invalidate` does."""
        self._database.apikeys.update_one({"_id": key.key}, {"$set": {"valid": False}})


@contextmanager
def running_hub(directory: Path) -> Iterator[Hub]:
    """A hub that runs for a block."""
    with running_server(directory, "hubd") as server:
        hub = Hub(server)
        try:
            yield hub
        finally:
            hub.close()
