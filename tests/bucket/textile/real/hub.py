"""A real hub with accounts and keys: it takes no sign-ups any more, so they are written into its database."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bson.binary import Binary
from nacl.signing import SigningKey
from pymongo import MongoClient

from ipfsreg.bucket.textile.proto import threads_pb2
from tests.bucket.textile.double.accounts import Account, ApiKey
from tests.bucket.textile.double.fixtures import metadata_of
from tests.bucket.textile.double.identity import public_key_string, to_base32
from tests.grpcweb_double.peer import open_call

from .servers import DATABASE, TextileServer, running_server

_PUBLIC, _PRIVATE = b"\x08\x01\x12\x20", b"\x08\x01\x12\x40"
SECONDS = 30.0

_DEVELOPER = 0
_ACCOUNT_KEY, _USER_GROUP_KEY = 0, 1


class Hub:
    """A hub that runs, and who may use it. Keys and accounts are as the double's, so that tests take either."""

    def __init__(self, server: TextileServer) -> None:
        self.server = server
        client: MongoClient[dict[str, Any]] = MongoClient(server.mongo.uri)
        self._database = client[DATABASE]
        self.close = client.close

    @property
    def url(self) -> str:
        """What ``[textile] host`` is to be."""
        return self.server.url

    async def add_key(self, *, secure: bool = True, for_users: bool = False) -> ApiKey:
        """A new API key of a new account: for the account itself, or for a group of its users."""
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
        made = ApiKey(key, secret, Account(name, public_key_string(signing.verify_key)), for_users, secure)
        # What the hub does when it signs somebody up: it asks itself for a token of the account.
        token = await self.get_token(made, signing)
        self._database.accounts.update_one({"_id": account["_id"]}, {"$set": {"token": token}})
        return made

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
