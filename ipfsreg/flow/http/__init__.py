"""Bounds for what servers answer to Twisted's HTTP client."""
