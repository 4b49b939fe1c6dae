"""Mirrors: a bucket that is whatever directory a name points to."""
