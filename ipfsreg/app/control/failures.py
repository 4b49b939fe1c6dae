"""How a task fails, as an HTTP status and one line."""

from ipfsreg.bucket.errors import BucketError, SetupError, Unavailable, Unchangeable
from ipfsreg.registry.errors import RegistryError

TELLING = (BucketError, RegistryError, SetupError)
"""The failures that say in one line for a person what is wrong."""


def http_status(error: Exception) -> int:
    """The status that tells what kind of failure one of `TELLING` is."""
    if isinstance(error, RegistryError):
        return error.status
    if isinstance(error, Unavailable):
        return 503
    return 405 if isinstance(error, Unchangeable) else 500
