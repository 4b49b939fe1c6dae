"""A daemon's first day: its token and its key pair, each made once and never over another.

The daemon tells its token only once and makes no other; without it the daemon has to be wiped. So the file for it
is there before the daemon is asked.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..breaker import Unreachable
from ..errors import SetupError
from ..private_file import PrivateFile
from .client import SpaceClient
from .errors import KeyPairExists, NoKeyPair, TokenExists
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
    if token is None:
        token = await _get_token(options, make_client)
        lines.append(f"The token is in {options.token_file}. It cannot be had again: keep a copy elsewhere.")
    else:
        lines.append("There is a token already: it is used.")
    client = make_client(token)
    try:
        lines += await _get_key_pair(client, _beside(options.token_file))
        found = await client.call("GetPublicKey", space_pb2.GetPublicKeyRequest(), space_pb2.GetPublicKeyResponse)
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
    except Unreachable as error:
        raise SetupError(
            f"the Space Daemon at {options.url} did not answer ({error}); run this again when it does"
        ) from None
    except TokenExists:
        raise SetupError(_HAS_TOKEN.format(url=options.url, file=options.token_file)) from None
    finally:
        file.discard()
        await client.stop()


async def _get_key_pair(client: SpaceClient, mnemonic_file: Path) -> Sequence[str]:
    try:
        await client.call("GetPublicKey", space_pb2.GetPublicKeyRequest(), space_pb2.GetPublicKeyResponse)
        return ["The Space Daemon has a key pair already: it stays."]
    except NoKeyPair:
        pass
    file = _new_file(mnemonic_file)
    try:
        made = await client.call(
            "GenerateKeyPair", space_pb2.GenerateKeyPairRequest(), space_pb2.GenerateKeyPairResponse
        )
        _keep(file, made.mnemonic)
    except KeyPairExists:  # somebody was faster
        return ["The Space Daemon has a key pair already: it stays."]
    finally:
        file.discard()
    return [
        f"A key pair was made. The words from which it can be made again are in {mnemonic_file}: keep a copy elsewhere."
    ]


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
        raise LostSecret(f"{error}. Write this down now, the Space Daemon does not tell it again", secret) from None


def _beside(token_file: Path) -> Path:
    return token_file.with_name(f"{token_file.name}-mnemonic")


_HAS_TOKEN = (
    "the Space Daemon at {url} has a token already, and tells it only once. If you have it, for example as the "
    "DAEMON_TOKEN of the original program, write it to {file} (readable for you alone) and run this again. If it is "
    "lost, there is no way to it: stop the daemon, remove the entries of the service `space` from the keyring and the "
    "directory ~/.fleek-space, which gives up all buckets of that daemon, start it and run this again"
)
