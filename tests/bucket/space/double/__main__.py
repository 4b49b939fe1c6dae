"""Run the double by itself: for the JavaScript client, and trials by hand."""

import argparse

from tests.grpcweb_double.alone import run_until_stopped

from .server import SpaceDouble


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bucket.space.double", description=__doc__)
    parser.add_argument(
        "--listen", default="tcp:0:interface=127.0.0.1", help="Twisted TCP endpoint (default: %(default)s)"
    )
    parser.add_argument("--new", action="store_true", help="as after its installation: no token, no key pair")
    parser.add_argument("--latency", type=float, default=0.0, help="network round trip in seconds")
    parser.add_argument("--entry-seconds", type=float, default=0.0, help="what a listing takes for each file")
    parser.add_argument("--unwatched", action="store_true", help="live on when a returned copy is touched")
    return parser.parse_args()


def main() -> None:
    """Start the double, tell how to reach it (one line of JSON on standard output), run until stopped."""
    options = parse_arguments()
    double = SpaceDouble(set_up=not options.new, dies_when_touched=not options.unwatched)
    double.faults.latency = options.latency
    double.faults.entry_seconds = options.entry_seconds
    double.start(options.listen)
    known = {"url": double.url, "rest_url": double.rest_url}
    if not options.new:
        known["token"] = double.token
    run_until_stopped(double, known)


if __name__ == "__main__":
    main()
