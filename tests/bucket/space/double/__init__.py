"""A double of a Fleek Space Daemon: gRPC-Web by POST and by websocket, and its REST gateway.

What it imitates is in docs/protocols/space.md. The daemon has a Textile buckd in it, so that trees, sizes, locks and
limits are those of `tests.bucket.textile.double`. In a test::

    from tests.bucket.space.double import SpaceDouble

    double = SpaceDouble().start()           # with a token and a key pair, and nothing but the bucket "personal"
    double.add_bucket("ddocker")
    ...                                      # talk to double.url with double.token
    await double.stop()

or the fixtures of `tests.bucket.space.double.fixtures`. From the shell: ``python -m tests.bucket.space.double --help``.
"""

from tests.grpcweb_double.call import RpcError
from tests.grpcweb_double.faults import Fault

from .server import SpaceDouble
from .settings import Limits, Patience

__all__ = ["Fault", "Limits", "Patience", "RpcError", "SpaceDouble"]
