"""Tokens and key pairs (docs/protocols/space.md, "Access")."""

import hmac

from ipfsreg.bucket.space.proto import space_pb2
from tests.grpcweb_double.call import UNAUTHENTICATED, UNKNOWN, Call, RpcError

from .account import DEFAULT_BUCKET, Account
from .base import SpaceBase
from .keys import AppToken, KeyPair

OPEN_METHOD = "InitializeMasterAppToken"
_NO_KEY = "The specified item could not be found in the keyring"


class Access(SpaceBase):
    """The token, the key pair and its words; and who may call."""

    def authorize(self, call: Call) -> None:
        """Refuse a call without the master token.

        :raises RpcError: with status 16.
        """
        if call.method == OPEN_METHOD:
            return
        header = call.metadata.get("authorization", "")
        scheme, space, token = header.partition(" ")
        if header and not space:
            raise RpcError(UNAUTHENTICATED, "Bad authorization string")
        if scheme.lower() != "apptoken":
            raise RpcError(UNAUTHENTICATED, "Request unauthenticated with AppToken")
        problem = self._problem_of(token)
        if problem:
            raise RpcError(UNAUTHENTICATED, f"invalid auth token: {problem}")

    def _problem_of(self, token: str) -> str:
        parts = token.split(".")
        if len(parts) < 2:
            return "invalid token format"
        known = self.world.token
        if known is None or parts[0] != known.key:
            return _NO_KEY
        if not hmac.compare_digest(parts[1].encode(), known.secret.encode()):
            return "app token secret does not match"
        return ""

    def take(self, pair: KeyPair) -> Account:
        """Make a pair the daemon's own: what hangs on another is out of reach from now on."""
        account = Account(pair)
        self.world.account = account = self.world.accounts.setdefault(account.public_key, account)
        self.create_now(account, DEFAULT_BUCKET)
        return account

    async def InitializeMasterAppToken(
        self, call: Call, request: space_pb2.InitializeMasterAppTokenRequest
    ) -> space_pb2.InitializeMasterAppTokenResponse:
        if self.world.token is not None:
            raise RpcError(UNKNOWN, "master app token already exists")
        self.world.token = AppToken.generate()
        return space_pb2.InitializeMasterAppTokenResponse(appToken=str(self.world.token))

    async def GenerateKeyPair(
        self, call: Call, request: space_pb2.GenerateKeyPairRequest
    ) -> space_pb2.GenerateKeyPairResponse:
        if self.world.account is not None:
            raise RpcError(UNKNOWN, "Error while executing GenerateKeyFromMnemonic. Key pair already exists.")
        return await self.GenerateKeyPairWithForce(call, request)

    async def GenerateKeyPairWithForce(
        self, call: Call, request: space_pb2.GenerateKeyPairRequest
    ) -> space_pb2.GenerateKeyPairResponse:
        pair = KeyPair.generate()
        self.take(pair)
        return space_pb2.GenerateKeyPairResponse(mnemonic=pair.mnemonic)

    async def GetStoredMnemonic(
        self, call: Call, request: space_pb2.GetStoredMnemonicRequest
    ) -> space_pb2.GetStoredMnemonicResponse:
        if self.world.account is None:
            raise RpcError(UNKNOWN, _NO_KEY)
        return space_pb2.GetStoredMnemonicResponse(mnemonic=self.world.account.pair.mnemonic)

    async def GetPublicKey(self, call: Call, request: space_pb2.GetPublicKeyRequest) -> space_pb2.GetPublicKeyResponse:
        account = self.world.account
        if account is None:
            other = self.world.faults.other_keyring
            raise RpcError(UNKNOWN, "Key not found" if other else "No key pair found in the local db.")
        return space_pb2.GetPublicKeyResponse(publicKey=account.public_key)
