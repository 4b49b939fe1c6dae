"""The default backend: a directory on this disk."""
