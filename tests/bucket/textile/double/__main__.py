"""Run the double by itself: for the JavaScript client, benchmarks, and trials by hand."""

import argparse

from tests.grpcweb_double.alone import run_until_stopped

from .server import TextileDouble
from .settings import Generation, Limits


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bucket.textile.double", description=__doc__)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--hub", action="store_true", help="a hub, with API keys")
    kind.add_argument("--buckd", action="store_true", help="a self-hosted buckd, without")
    parser.add_argument(
        "--listen", default="tcp:0:interface=127.0.0.1", help="Twisted TCP endpoint (default: %(default)s)"
    )
    parser.add_argument("--generation", type=Generation.parse, default="v2.6.20", help="release, as v2.6.9")
    parser.add_argument("--latency", type=float, default=0.0, help="network round trip in seconds")
    parser.add_argument("--push-rate", type=float, help="bytes a second that the server's IPFS takes in")
    parser.add_argument("--discard", action="store_true", help="keep no content, only sizes")
    parser.add_argument("--powergate", action="store_true", help="with Filecoin archives")
    parser.add_argument("--insecure-key", action="store_true", help="a key that needs no signature")
    parser.add_argument("--user-key", action="store_true", help="a user-group key, which needs tokens")
    parser.add_argument("--key", help="the API key (default: a random one)")
    parser.add_argument("--secret", help="its secret")
    return parser.parse_args()


def main() -> None:
    """Start the double, tell how to reach it (one line of JSON on standard output), run until stopped."""
    options = parse_arguments()
    double = TextileDouble(
        hub=options.hub,
        generation=options.generation,
        limits=Limits(),
        keep_content=not options.discard,
        powergate=options.powergate,
    )
    double.faults.latency = options.latency
    double.faults.push_bytes_per_second = options.push_rate
    double.start(options.listen)
    known = {"url": double.url}
    if options.hub:
        key = double.accounts.add_key(
            secure=not options.insecure_key,
            for_users=options.user_key,
            key=options.key,
            secret=options.secret,
        )
        known |= {"key": key.key, "secret": key.secret}
    run_until_stopped(double, known)


if __name__ == "__main__":
    main()
