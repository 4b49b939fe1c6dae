"""A daemon's first day: its token and its key pair, each made once and never over another.

The daemon tells its token only once and makes no other; without it the daemon has to be wiped. So the file for it
is there before the daemon is asked. The words of the key pair it tells again.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ipfsreg.bucket.breaker import NotAsked
from ipfsreg.bucket.errors import BucketError, SetupError, Unreachable
from ipfsreg.bucket.private_file import PrivateFile

from .client import SpaceClient
from .errors import KeyPairExists, NoKeyPair, TokenExists, WrongToken
from .options import SpaceOptions
from .proto import space_pb2

MakeClient = Callable[[str | None], SpaceClient]
"""A client with a token, or without one."""


class LostSecret(Exception):
    """A secret could not be stored after all. ``secret`` is what the user has to write down now, or it is lost."""

    def __init__(self, message: str, secret: str) -> None:
        super().__init__(message)
        self.secret = secret


async def set_up(options: SpaceOptions, make_client: MakeClient) -> Sequence[str]:
    """Get the token if there is none yet, and a key pair if the daemon has none; answers lines for the user.

    :raises SetupError: where the user has to do something first.
    :raises BucketError: where the daemon cannot be asked, or refuses.
    """
    lines = []
    token = options.known_token()
    words = _beside(options.token_file)
    if token is None:
        if _is_there(words):  # of an earlier key pair: said before the token is gone from the daemon
            raise SetupError(
                f"{words} is there already, without the token beside it, and is never overwritten: move it elsewhere "
                "(its words are those of an earlier key pair) and run this again"
            )
        token = await _get_token(options, make_client)
        lines.append(f"The token is in {options.token_file}. It cannot be had again: keep a copy elsewhere.")
    else:
        lines.append("There is a token already: it is used.")
    client = make_client(token)
    try:
        lines += await _get_key_pair(client, words)
        found = await client.call("GetPublicKey", space_pb2.GetPublicKeyRequest(), space_pb2.GetPublicKeyResponse)
    except WrongToken as error:
        raise SetupError(
            f"{error}. If the daemon was begun anew, move {options.token_file} and {words} elsewhere, as far as they "
            "are there, and run this again"
        ) from None
    finally:
        await client.stop()
    lines.append(f"The public key is {found.publicKey}.")
    return lines


async def _get_token(options: SpaceOptions, make_client: MakeClient) -> str:
    file = _new_file(options.token_file)
    client = make_client(None)
    try:
        made = await client.call(
            "InitializeMasterAppToken",
            space_pb2.InitializeMasterAppTokenRequest(),
            space_pb2.InitializeMasterAppTokenResponse,
        )
        _keep(file, made.appToken)
        return made.appToken
    except NotAsked as error:
        raise SetupError(
            f"the Space Daemon at {options.url} did not answer ({error}); run this again when it does"
        ) from None
    except Unreachable as error:
        raise SetupError(_TOKEN_LOST.format(url=options.url, error=error, begin_anew=_BEGIN_ANEW)) from None
    except TokenExists:
        raise SetupError(_HAS_TOKEN.format(url=options.url, file=options.token_file, begin_anew=_BEGIN_ANEW)) from None
    finally:
        file.discard()
        await client.stop()


async def _get_key_pair(client: SpaceClient, mnemonic_file: Path) -> Sequence[str]:
    try:
        await client.call("GetPublicKey", space_pb2.GetPublicKeyRequest(), space_pb2.GetPublicKeyResponse)
    except NoKeyPair:
        pass
    else:
        return await _get_words(client, mnemonic_file)
    file = _new_file(mnemonic_file)
    try:
        made = await client.call(
            "GenerateKeyPair", space_pb2.GenerateKeyPairRequest(), space_pb2.GenerateKeyPairResponse
        )
        _keep(file, made.mnemonic)
    except KeyPairExists:  # somebody was faster
        file.discard()
        return await _get_words(client, mnemonic_file)
    except Unreachable as error:
        raise SetupError(
            f"the Space Daemon may have made a key pair, and its answer did not come ({error}); run this again, which "
            "asks for its words"
        ) from None
    finally:
        file.discard()
    return [
        f"A key pair was made. The words from which it can be made again are in {mnemonic_file}: keep a copy elsewhere."
    ]


async def _get_words(client: SpaceClient, mnemonic_file: Path) -> Sequence[str]:
    """The words of a pair that is there, if they are not: the answer with them may have been lost."""
    stays = "The Space Daemon has a key pair already: it stays."
    if _is_there(mnemonic_file):
        return [stays]
    file = _new_file(mnemonic_file)
    try:
        found = await client.call(
            "GetStoredMnemonic", space_pb2.GetStoredMnemonicRequest(), space_pb2.GetStoredMnemonicResponse
        )
        if not found.mnemonic:
            return [stays, "It does not tell its words: keep those that you have."]
        _keep(file, found.mnemonic)
    except BucketError as error:
        return [stays, f"It does not tell its words ({error}): keep those that you have, or run this again."]
    finally:
        file.discard()
    return [f"{stays} The words from which it can be made again are in {mnemonic_file}: keep a copy elsewhere."]


def _new_file(path: Path) -> PrivateFile:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"cannot make {path.parent}: {error.strerror}") from None
    return PrivateFile(path)


def _keep(file: PrivateFile, secret: str) -> None:
    try:
        file.keep(secret + "\n")
    except SetupError as error:
        raise LostSecret(f"{error}. Write this down now, or it may be lost", secret) from None


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _beside(token_file: Path) -> Path:
    return token_file.with_name(f"{token_file.name}-mnemonic")


_BEGIN_ANEW = (
    "there is no way to it: stop the daemon, remove the entries of the service `space` from the keyring and the "
    "directory ~/.fleek-space, which gives up all buckets of that daemon, start it and run this again"
)

_TOKEN_LOST = (
    "the answer of the Space Daemon at {url} did not come whole ({error}). It may have told its token, which is then "
    "lost: run this once more, and if it says that the daemon has a token already, {begin_anew}"
)

_HAS_TOKEN = (
    "the Space Daemon at {url} has a token already, and tells it only once. If you have it, for example as the "
    "DAEMON_TOKEN of the original program, write it to {file} (readable for you alone) and run this again. If it is "
    "lost, {begin_anew}"
)
