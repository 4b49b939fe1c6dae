"""Wrappers that remember: small files in memory, content of a remote bucket on this disk."""
