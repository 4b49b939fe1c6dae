"""Benchmarks: this registry beside others, on the same machine, through the same clients (see README.md)."""
