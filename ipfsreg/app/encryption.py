"""The encryption of the bucket as the configuration says: the member's key, and what is wrong with it."""

import os
import resource
from typing import Any

from ipfsreg.bucket.errors import SetupError
from ipfsreg.bucket.opened import Opened
from ipfsreg.bucket.team.backend import Pace, Shape, team_backend
from ipfsreg.bucket.team.key_file import PASSPHRASE_VARIABLE, KeyFile, OwnKey, read_passphrase
from ipfsreg.bucket.team.seen import SeenFile
from ipfsreg.bucket.team.team import Own
from ipfsreg.config.sections import Config, EncryptionOptions
from ipfsreg.flow.workers import Workers
from ipfsreg.registry import layout
from ipfsreg.registry.original import MANIFESTS

_SHAPE = Shape(layout.TOPS, layout.DERIVED, MANIFESTS)

SEEN_FILE = "encryption.json"


def encrypt(config: Config, backend: Opened, workers: Workers, reactor: Any, passphrase: str) -> Opened:
    """The backend with an encrypted bucket. ``passphrase`` is that of the member's key, where nothing else says it.

    From here on this process leaves no core file, which would have the keys.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    options, directory = config.encryption, config.backend.state_directory
    owner = None if options.owner is None else bytes.fromhex(options.owner)
    own = Own(
        OwnKey(KeyFile(options.key), lambda: configured_passphrase(options) or passphrase).load,
        SeenFile(directory / SEEN_FILE),
        layout.VERSION_FILE,
        owner,
        options.convert,
    )
    return team_backend(backend, own, workers, reactor, Pace(options.refresh, options.rate), _SHAPE)


def configured_passphrase(options: EncryptionOptions) -> str:
    """The passphrase of the member's key, from the environment or the configured file; empty where neither says it.

    :raises SetupError: where the file cannot be read.
    """
    given = os.environ.get(PASSPHRASE_VARIABLE, "")
    return read_passphrase(options.passphrase_file) if not given and options.passphrase_file else given


def lacks_passphrase(options: EncryptionOptions) -> bool:
    """Whether the member's key is under a passphrase that neither the environment nor a file says.

    :raises SetupError: where the key's file, or that of the passphrase, cannot be used.
    """
    return KeyFile(options.key).needs_passphrase() and not configured_passphrase(options)


def encryption_problem(options: EncryptionOptions) -> str | None:
    """Why the member's key cannot be used, in one line, as far as can be said at once; None where nothing is wrong."""
    try:
        if lacks_passphrase(options):
            KeyFile(options.key).load()
    except SetupError as error:
        return f"[encryption] key: {error}"
    return None
