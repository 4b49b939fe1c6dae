"""The official JavaScript client of the Space Daemon, run by our tests; see `runner`."""
