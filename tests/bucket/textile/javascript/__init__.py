"""The official JavaScript clients of Textile, run by our tests; see `runner`."""
