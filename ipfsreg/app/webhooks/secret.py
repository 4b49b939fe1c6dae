"""The keys of signatures."""

from pathlib import Path

from ipfsreg.bucket.errors import SetupError
from ipfsreg.config.small_file import SECRET_MAX, read_small_file


def read_secret(name: str, path: Path) -> bytes:
    """The key of the endpoint ``name``; blocks. :raises SetupError: where there is none."""
    try:
        secret = read_small_file(path, SECRET_MAX).strip()
    except OSError as error:
        raise SetupError(f"[webhooks] endpoints: {name}: {path}: {error.strerror}") from None
    if not secret:
        raise SetupError(f"[webhooks] endpoints: {name}: {path} is empty")
    return secret
