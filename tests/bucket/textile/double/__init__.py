"""A double of a Textile Hub (hubd) and of a self-hosted buckd: gRPC-Web by POST and by websocket.

What it imitates is in docs/protocols/textile.md. In a test::

    from tests.bucket.textile.double import TextileDouble

    double = TextileDouble(hub=True).start()
    key = double.accounts.add_key()          # key.key, key.secret: what a user puts in the config
    ...                                      # talk to double.url
    await double.stop()

or the fixtures of `tests.bucket.textile.double.fixtures`. From the shell:
``python -m tests.bucket.textile.double --help``.
"""

from tests.grpcweb_double.call import RpcError
from tests.grpcweb_double.faults import Fault

from .content import Synthetic
from .server import TextileDouble
from .settings import CURRENT, NO_PUSH_PATHS, OLD_WEBSOCKET, Generation, Limits

__all__ = [
    "CURRENT",
    "NO_PUSH_PATHS",
    "OLD_WEBSOCKET",
    "Fault",
    "Generation",
    "Limits",
    "RpcError",
    "Synthetic",
    "TextileDouble",
]
